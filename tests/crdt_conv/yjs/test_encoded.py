"""A document as bytes says what the document itself says."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv import MalformedUpdate
from crdt_conv.yjs.encoded import EncodedDocument
from crdt_conv.yjs.updates import merge_updates
from tests.replicas import replica, texts


def updates(count: int) -> list[bytes]:
    """Return updates that each write a message behind the last."""
    source, made = replica(), list[bytes]()
    source.subscribe(lambda change: made.append(change.update))
    for number in range(count):
        source.append("user", str(number))
    return made


@given(have=st.integers(0, 8), order=st.permutations(range(8)))
def test_an_answer_is_what_a_replica_lacks(have: int, order: list[int]) -> None:
    """However the updates came: who has some of them is sent the others, and not the whole."""
    made = updates(8)
    document = EncodedDocument(made[at] for at in order[:4])
    for at in order[4:]:
        document.add(made[at])
    client = replica()
    for update in made[:have]:
        client.receive(update)
    answer = document.encode(client.state_vector)
    assert not have or len(answer) <= len(document.encode()) * (8 - have) / 8 + 80
    client.receive(answer)
    assert texts(client.log().messages) == [str(number) for number in range(8)]
    assert document.state_vector == client.state_vector


def test_what_waits_is_part_of_every_answer() -> None:
    """Behind a gap nothing is claimed, and nothing is left out."""
    first, second = updates(2)
    document = EncodedDocument([second])
    assert document.state_vector == b"\x00"
    assert document.has(second)
    assert not document.has(first)
    client = replica()
    client.receive(document.encode())
    client.receive(first)
    assert texts(client.log().messages) == ["0", "1"]
    document.add(first)
    assert document.has(second)


def test_deletes_are_known() -> None:
    """A delete that is here is nothing new; one that is not is, though it brings no struct."""
    source: pycrdt.Doc[pycrdt.Map[int]] = pycrdt.Doc()
    made: list[bytes] = []
    subscription = source.observe(lambda event: made.append(event.update))
    entries = source.get("m", type=pycrdt.Map)
    entries["a"] = 1
    entries["b"] = 2
    del entries["a"]
    source.unobserve(subscription)
    inserted, more, deleted = made
    document = EncodedDocument([inserted, more])
    assert document.has(inserted)
    assert not document.has(deleted)
    document.add(deleted)
    assert document.has(deleted)


def changes() -> list[bytes]:
    """Return updates of every kind: text beyond 16 bits, maps, lists, nulls, edits and deletes."""
    source: pycrdt.Doc[Any] = pycrdt.Doc()
    made: list[bytes] = []
    subscription = source.observe(lambda event: made.append(event.update))
    text, entries = source.get("t", type=pycrdt.Text), source.get("m", type=pycrdt.Map)
    items = source.get("a", type=pycrdt.Array)
    for number in range(3):
        text += f"{number} 𝄞 und é"
        items.extend([None, 1.5, {"k": [True, "x"]}, b"raw"])
        entries["same"] = number
        entries[f"own{number}"] = pycrdt.Map({"inner": pycrdt.Text("tx")})
    del text[0:2]
    del entries["own1"]
    del items[2]
    source.unobserve(subscription)
    return made


@given(data=st.data())
def test_it_knows_what_it_has(data: st.DataObject) -> None:
    """Exactly what was added, whatever is missing in between, and however often it was asked meanwhile."""
    made = changes()
    here = data.draw(st.lists(st.integers(0, len(made) - 1), max_size=len(made)))
    split = data.draw(st.integers(0, len(here)))
    document = EncodedDocument(made[at] for at in here[:split])
    for at in here[split:]:
        if data.draw(st.booleans()):
            document.has(made[0])
        document.add(made[at])
    assert [document.has(update) for update in made] == [at in here for at in range(len(made))]
    several = data.draw(st.lists(st.integers(0, len(made) - 1), min_size=1))
    merged = merge_updates(made[at] for at in several)
    assert document.has(merged) == (set(several) <= set(here))
    assert document.state_vector == pycrdt.get_state(merge_updates(made[at] for at in here))


def test_an_empty_document_has_nothing() -> None:
    """Nothing is asked of it but an empty answer."""
    document = EncodedDocument([])
    assert (document.encode(), document.state_vector) == (b"\x00\x00", b"\x00")
    assert not document.has(updates(1)[0])


@pytest.mark.parametrize("rubbish", [b"", b"\xff", b"\x01", b"\x01\x01"])
def test_rubbish_is_refused(rubbish: bytes) -> None:
    """What is no state vector and no update is an error, and changes nothing."""
    document = EncodedDocument(updates(1))
    before = document.encode()
    with pytest.raises(MalformedUpdate):
        document.encode(rubbish)
    with pytest.raises(MalformedUpdate):
        document.has(b"\x07" + rubbish)
    assert document.encode() == before
