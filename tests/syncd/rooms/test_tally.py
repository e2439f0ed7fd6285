"""What a stock client counts, held against a model of its number."""

from __future__ import annotations

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv import MalformedUpdate
from syncd.rooms.tally import Kind, Tally


def typed(*steps: str) -> list[tuple[bytes, bytes]]:
    """Type letters, or delete one at ``-``; returns each update with the state vector behind it."""
    document = pycrdt.Doc[pycrdt.Text]()
    text = document.get("t", type=pycrdt.Text)
    made: list[tuple[bytes, bytes]] = []
    for step in steps:
        before, deletes = document.get_state(), step == "-"
        if deletes:
            del text[0]
        else:
            text += step
        made.append((document.get_update(before), document.get_state()))
    return made


def test_each_frame_is_what_the_table_says() -> None:
    """Before the diff, what the state vector covers is not counted, and what only deletes is kept back."""
    (old, then), (delete, _), (new, _) = typed("a", "-", "b")
    tally = Tally()
    assert tally.kind_of(old, is_diff=False) is Kind.COUNTED
    tally.begin(then)
    kinds = [tally.kind_of(update, is_diff=False) for update in (old, delete, new)]
    assert kinds == [Kind.UNCOUNTED, Kind.KEPT_BACK, Kind.COUNTED]
    assert tally.kind_of(old, is_diff=True) is Kind.DIFF
    assert tally.kind_of(old, is_diff=False) is Kind.COUNTED
    assert [tally.stored(kind) for kind in (*kinds, Kind.DIFF, Kind.COUNTED)] == [0, 0, 1, 2, 1]


def test_what_was_refused_is_owed_until_a_diff_is_stored() -> None:
    """Each frame that the client counted, and the diff where it was refused; a new start forgets them."""
    tally = Tally()
    tally.begin(b"\x00")
    for kind in (Kind.DIFF, Kind.COUNTED, Kind.UNCOUNTED, Kind.COUNTED):
        tally.refused(kind)
    assert tally.stored(Kind.DIFF) == 3
    tally.refused(Kind.COUNTED)
    tally.begin(b"\x00")
    assert tally.stored(Kind.DIFF) == 1
    # One that nobody asked for.
    assert tally.stored(Kind.DIFF) == 1


def test_a_state_vector_that_is_none_changes_nothing() -> None:
    """It is refused, and later updates are counted as before."""
    tally = Tally()
    with pytest.raises(MalformedUpdate):
        tally.begin(b"\xff")
    assert tally.kind_of(typed("a")[0][0], is_diff=False) is Kind.COUNTED


@given(
    offline=st.lists(st.sampled_from("ab"), max_size=6),
    opening=st.lists(st.sampled_from("cd"), max_size=4),
    flushed_behind=st.integers(0, 4),
)
def test_no_number_falls_to_zero_before_all_is_stored(
    offline: list[str], opening: list[str], flushed_behind: int
) -> None:
    """Whatever was written offline and while it connects: the last status, and only it, makes it zero."""
    updates = typed("z", *offline, *opening)
    old, new = updates[: len(offline) + 1], updates[len(offline) + 1 :]
    tally, number = Tally(), 1 + len(new)
    tally.begin(old[-1][1])
    # What was written offline is sent again behind the first answer, between what is being written.
    frames = [*new[:flushed_behind], *old, *new[flushed_behind:]]
    kinds = [tally.kind_of(update, is_diff=False) for update, _ in frames]
    for kind in kinds:
        number -= tally.stored(kind)
        assert number > 0
    assert number - tally.stored(tally.kind_of(b"\x00\x00", is_diff=True)) == 0
