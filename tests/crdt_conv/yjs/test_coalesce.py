"""Texts in fewer pieces: the same document, whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv.yjs.coalesce import MANY, coalesce, merge_written
from crdt_conv.yjs.encoded import EncodedDocument
from crdt_conv.yjs.updates import lacking, merge_updates

Doc = pycrdt.Doc[Any]

WORDS = st.text("ab é😀\n", min_size=1, max_size=4)
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["type", "insert", "delete", "key", "exchange"]), WORDS),
    max_size=25,
)


def typed(steps: Sequence[tuple[int, str, str]]) -> list[bytes]:
    """Return the updates of three replicas that write, and exchange what they have."""
    made: list[bytes] = []
    docs = [Doc(client_id=client) for client in (1, 200, 2**40)]
    texts = [doc.get("t", type=pycrdt.Text) for doc in docs]
    keys = [doc.get("k", type=pycrdt.Map) for doc in docs]
    for doc in docs:
        doc.observe(lambda event: made.append(event.update))
    for who, what, word in steps:
        text = texts[who]
        if what == "type":
            text += word
        elif what == "insert":
            text.insert(0, word)
        elif what == "delete" and str(text)[:1].isascii() and str(text):
            del text[0:1]
        elif what == "key":
            keys[who]["k"] = word
        elif what == "exchange":
            docs[who].apply_update(docs[who - 1].get_update())
    return made


def read(update: bytes) -> tuple[str, str, bytes]:
    """Return what a new replica reads, and what it has."""
    doc = Doc()
    doc.apply_update(update)
    shown = doc.get("t", type=pycrdt.Text), doc.get("k", type=pycrdt.Map)
    return str(shown[0]), str(shown[1]), doc.get_update()


@given(STEPS)
def test_the_document_is_the_same(steps: list[tuple[int, str, str]]) -> None:
    """Read whole, and by a replica that has the beginning of it already."""
    updates = typed(steps)
    merged = merge_updates(updates)
    assert read(coalesce(merged)) == read(merged)
    known = merge_updates(updates[: len(updates) // 2])
    rest = lacking(merged, pycrdt.get_state(known))
    assert read(merge_updates([known, coalesce(rest)])) == read(merged)


@given(STEPS, st.integers(0, 200))
def test_it_does_not_grow_and_is_done_once(steps: list[tuple[int, str, str]], cut: int) -> None:
    """Bytes that are no update come back as they are."""
    merged = merge_updates(typed(steps))
    once = coalesce(merged)
    assert len(once) <= len(merged)
    assert coalesce(once) == once
    assert len(coalesce(merged[:cut])) <= len(merged[:cut])


def test_what_was_typed_is_one_text() -> None:
    """Twenty letters that a client missed cost it little more than the letters."""
    updates = typed([(0, "type", "x")] * 40)
    missed = EncodedDocument(updates).encode(pycrdt.get_state(merge_updates(updates[:20])))
    assert b"x" * 20 in missed
    assert len(missed) < 45


TWICE = b"\x02" + b"\x01\x07\x00\x04\x01\x01t\x01a" * 2 + b"\x00"


@pytest.mark.parametrize("update", [b"", b"\x01\x01\x01", b"\xff" * 9, TWICE])
def test_rubbish_is_as_it_was(update: bytes) -> None:
    """It is somebody else's to refuse."""
    assert coalesce(update) == update


@pytest.mark.parametrize("clients", [(1, 2), (2, 1)])
@pytest.mark.parametrize("at", [2, 3])
def test_a_text_behind_another_s_stays_by_itself(clients: tuple[int, int], at: int) -> None:
    """One replica writes between what it wrote and what another did, or behind both."""
    one, other = (Doc(client_id=client) for client in clients)
    updates: list[bytes] = []
    for doc in (one, other):
        doc.observe(lambda event: updates.append(event.update))
    text = one.get("t", type=pycrdt.Text)
    text += "a"
    text += "d"
    other.apply_update(one.get_update())
    other.get("t", type=pycrdt.Text).insert(2, "b")
    one.apply_update(other.get_update())
    text.insert(at, "c")
    merged = merge_updates(updates)
    assert read(coalesce(merged)) == read(merged)


@pytest.mark.parametrize(("count", "is_one_piece"), [(MANY, False), (MANY + 1, True)])
def test_a_burst_of_letters_is_merged_into_one_piece(count: int, *, is_one_piece: bool) -> None:
    """The same text to whoever reads it; as many bytes as it has letters, and some more."""
    updates = typed([(0, "type", "a")] * count)
    merged = merge_written(updates)
    assert read(merged) == read(merge_updates(updates))
    assert (len(merged) < count + 50) is is_one_piece
