"""From any merged log to turns that every provider takes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import NothingToAnswer
from adapters.normalize import normalize
from crdt_conv import Message, MessageId, Part


def message(number: int, role: str, text: str, status: str = "complete", kind: str = "text") -> Message:
    """Return a message as a value."""
    part = Part("p", kind, {"text": text})
    return Message(MessageId(f"m{number}"), role, (), parts=(part,), status=status)


def log(table: str) -> list[Message]:
    """Return a log from ``role:text`` words."""
    entries = (word.split(":") for word in table.split())
    return [message(number, role, text) for number, (role, text) in enumerate(entries)]


# A log, and the turns it becomes.
TURNS = [
    ("user:a", "user:a"),
    ("system:s user:a", "system:s user:a"),
    ("user:a assistant:b user:c", "user:a assistant:b user:c"),
    ("user:a user:b", "user:a+b"),
    ("user:a assistant:b assistant:c user:d", "user:a assistant:b+c user:d"),
    ("user:a merge: user:b", "user:a+b"),
    ("user:a system:s user:b", "system:s user:a+b"),
    ("system:s user:a system:s user:b", "system:s user:a+b"),
    ("system:s user:a system:t user:b", "system:s+t user:a+b"),
    ("assistant:a user:b", "user:b"),
    ("robot:a user:b", "user:b"),
    ("tool:a user:b", "user:b"),
]


@pytest.mark.parametrize(("table", "expected"), TURNS)
def test_a_log_becomes_turns(table: str, expected: str) -> None:
    """Each log becomes what its row says."""
    turns = normalize(log(table)).turns
    assert " ".join(f"{turn.role}:{turn.text}" for turn in turns).replace("\n\n", "+") == expected


def test_every_change_is_told() -> None:
    """What was left out, joined or moved is named with a reason."""
    entries = [
        *log("user:a user:b system:s tool:t"),
        message(9, "user", "x", "redacted"),
        message(10, "user", " "),
    ]
    told = normalize(entries)
    assert [note.about for note in told.left_out] == ["m3", "m9", "m10"]
    assert [(note.about, note.reason.split()[0]) for note in told.repairs] == [("m1", "joined"), ("m2", "a")]


@pytest.mark.parametrize("table", ["", "system:s", "user:a assistant:b", "assistant:b", "tool:x"])
def test_there_must_be_a_question(table: str) -> None:
    """A log that does not end with a user's turn can't be answered."""
    with pytest.raises(NothingToAnswer):
        normalize(log(table))


MESSAGES = st.builds(
    message,
    st.integers(0, 99),
    st.sampled_from(["system", "user", "assistant", "tool", "merge", "robot"]),
    st.sampled_from(["", " ", "a", "b c"]),
    st.sampled_from(["complete", "interrupted", "cancelled", "streaming", "redacted", "failed"]),
    st.sampled_from(["text", "reasoning", "tool_call", "hologram"]),
)


@given(st.lists(MESSAGES, max_size=12))
def test_any_log_becomes_turns_that_providers_take(entries: Sequence[Message]) -> None:
    """One system turn at most, first; then user and assistant alternate, user at both ends; none is empty."""
    try:
        turns = list(normalize(entries).turns)
    except NothingToAnswer:
        return
    roles = [turn.role for turn in turns]
    talk = roles[1:] if roles[0] == "system" else roles
    assert talk == ["user" if place % 2 == 0 else "assistant" for place in range(len(talk))]
    assert talk[-1] == "user"
    assert all(turn.text.strip() for turn in turns)
