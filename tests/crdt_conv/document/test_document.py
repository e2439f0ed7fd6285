"""Documents from strangers, built through raw Yjs, and updates that come in any shape."""

from __future__ import annotations

import contextlib
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment

from crdt_conv import Change, Target
from crdt_conv.document.document import Document
from crdt_conv.errors import MalformedUpdate
from tests.replicas import Reader, replica, texts


def stranger(entries: dict[str, object]) -> bytes:
    """Return an update that writes raw entries into the messages root."""
    doc: Doc[Map[object]] = Doc()
    root = doc.get("messages", type=Map)
    for key, value in entries.items():
        root[key] = value
    return doc.get_update()


def updates_of_three_messages() -> list[bytes]:
    """Return the updates of one device that wrote three messages."""
    conversation = replica()
    updates: list[bytes] = []
    conversation.subscribe(lambda change: updates.append(change.update))
    for text in ("one", "two", "three"):
        conversation.append("user", text)
    return updates


def test_one_bad_entry_breaks_nothing_else() -> None:
    """Entries of the wrong shape are quarantined with a reason, each alone."""
    good = {"role": "user", "parents": [], "parts": Array([Map({"type": "text", "text": Text("Hi")})])}
    bad = {"number": 3, "list": Array([1]), "text": Text("x"), "norole": Map({"parents": []})}
    document = Reader([stranger({"good": Map(good), **bad})])
    assert texts([document.index.message("good")]) == ["Hi"]
    assert document.quarantined == {
        "number": "it is no Map",
        "list": "it is no Map",
        "text": "it is no Map",
        "norole": "'role' is missing",
    }


def test_xml_is_quarantined() -> None:
    """XML types, which pycrdt refuses to read, are one more wrong shape."""
    doc: Doc[XmlFragment] = Doc()
    doc["messages"] = XmlFragment([XmlElement("p")])
    document = Reader([doc.get_update(), stranger({"good": Map({"role": "user", "parents": []})})])
    assert "good" in document.graph


def test_an_entry_that_is_mended_is_read() -> None:
    """Quarantine ends when the entry gets the right shape."""
    doc: Doc[Map[object]] = Doc()
    root = doc.get("messages", type=Map)
    root["m"] = Map({"role": 1, "parents": []})
    document = Reader([doc.get_update()])
    state = doc.get_state()
    root["m"]["role"] = "user"  # type: ignore[index]
    document.apply(doc.get_update(state))
    assert ("m" in document.graph, document.quarantined) == (True, {})


def test_a_changed_parent_rebuilds_the_graph() -> None:
    """Parents are immutable; where a stranger changes them, the log follows without breaking."""
    doc: Doc[Map[object]] = Doc()
    root = doc.get("messages", type=Map)
    for name, parents in (("a", []), ("b", ["a"]), ("c", ["b"])):
        root[name] = Map({"role": "user", "parents": parents})
    document = Reader([doc.get_update()])
    state = doc.get_state()
    root["c"]["parents"] = ["a"]  # type: ignore[index]
    document.apply(doc.get_update(state))
    assert [m.id for m in document.graph.lin("c")] == ["a", "c"]


def test_a_gap_is_kept_served_and_closed() -> None:
    """An update that came too early is served, survives a reload, and is read when the gap closes."""
    first, second, third = updates_of_three_messages()
    early = Document([first])
    early.apply(third)
    assert early.is_pending
    reloaded = Document([early.encode()])
    assert reloaded.is_pending
    assert reloaded.apply(second) is None
    whole = Reader([reloaded.encode()])
    assert (whole.document.is_pending, len(whole.graph)) == (False, 3)


def test_what_waited_is_told_when_it_is_read() -> None:
    """Subscribers hear of a message and a run when what they waited for comes, not only when they came."""
    source, target = replica(), replica()
    updates: list[bytes] = []
    source.subscribe(lambda change: updates.append(change.update))
    source.append("user", "one")
    source.append("user", "two")
    asked = source.runs.request(Target("llamacpp"))
    for update in updates[1:]:
        target.receive(update)
    heard: list[Change] = []
    target.subscribe(heard.append)
    target.receive(updates[0])
    assert (len(heard[0].messages), list(heard[0].runs)) == (2, [asked.id])


def test_a_delete_before_its_insert_is_kept() -> None:
    """A pending delete is not lost by a reload."""
    doc: Doc[Map[object]] = Doc()
    root = doc.get("messages", type=Map)
    root["m"] = Map({"role": "user", "parents": []})
    insert, state = doc.get_update(), doc.get_state()
    del root["m"]
    early = Document([doc.get_update(state)])
    reloaded = Document([early.encode()])
    assert reloaded.is_pending
    reloaded.apply(insert)
    assert not reloaded.read("messages")


def test_what_is_known_is_redundant() -> None:
    """Only an update with something new in it is news, deletes included."""
    first, second, _ = updates_of_three_messages()
    document = Document([first])
    assert document.is_redundant(first)
    assert document.is_redundant(document.encode())
    assert document.is_redundant(b"\x00\x00")
    assert not document.is_redundant(second)


def test_a_delete_alone_is_news() -> None:
    """An update that only deletes is not taken for one that says nothing."""
    doc: Doc[Map[object]] = Doc()
    root = doc.get("messages", type=Map)
    root["m"] = Map({"role": "user", "parents": []})
    document = Document([doc.get_update()])
    state = doc.get_state()
    del root["m"]
    assert not document.is_redundant(doc.get_update(state))


@given(st.binary(max_size=60))
def test_noise_is_refused_and_changes_nothing(noise: bytes) -> None:
    """Any bytes at all are an update, or are refused and leave the conversation as it was."""
    conversation = replica()
    conversation.append("user", "here")
    try:
        conversation.receive(noise)
    except MalformedUpdate:
        assert texts(conversation.log().messages) == ["here"]


def fixed_update() -> bytes:
    """Return the same update every time, so that a failing example can be run again."""
    doc: Doc[Map[object]] = Doc(client_id=7)
    part = Map({"id": "1", "type": "text", "text": Text("a stranger's words")})
    doc.get("messages", type=Map)["m"] = Map({"role": "user", "parents": [], "parts": Array([part])})
    return doc.get_update()


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_update_is_refused_or_harmless(damage: list[tuple[int, int]]) -> None:
    """A real update with bytes changed never raises anything but MalformedUpdate, and loses nothing."""
    conversation = replica()
    conversation.append("user", "here")
    damaged = bytearray(fixed_update())
    for place, byte in damage:
        damaged[place % len(damaged)] = byte
    with contextlib.suppress(MalformedUpdate):
        conversation.receive(bytes(damaged))
    conversation.append("user", "still here")
    assert {"here", "still here"} <= set(texts(conversation.log().messages))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2**60, -(2**60), 1.5])
def test_odd_numbers_in_parts_have_a_digest(number: float) -> None:
    """Numbers that JSON can't carry exactly don't keep a log from having a digest."""
    part = Map({"id": "1", "type": "gauge", "value": number})
    document = Reader([stranger({"m": Map({"role": "user", "parents": [], "parts": Array([part])})})])
    assert len(document.graph.digest("m")) == 32


def test_javascript_numbers_are_written() -> None:
    """Whole numbers are written as numbers that JavaScript reads as such, never as BigInt (tag 122)."""
    conversation = replica()
    created = conversation.append("user", "Hi").created
    assert created.to_bytes(8, "big") not in conversation.encode()
    assert b"created" + bytes([122]) not in conversation.encode()


def test_a_document_that_nobody_holds_leaves_memory() -> None:
    """The Y.Doc goes with its document, also where it was observed and changed."""
    document = Document(updates_of_three_messages())
    with document.transaction():
        document.put("meta", "title", "Trip")
    ydoc = weakref.ref(document._ydoc)
    del document
    assert ydoc() is None
