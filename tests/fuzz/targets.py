"""What is fuzzed: each decoder with valid examples, what must hold, and the only errors that may leave it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from crdt_conv import MalformedUpdate, Store
from crdt_conv.document.document import Document
from crdt_conv.yjs.encoded import EncodedDocument
from crdt_conv.yjs.nesting import DEEPEST_TYPE, deepest, without_harm
from crdt_conv.yjs.structs import Structs
from crdt_conv.yjs.updates import (
    check_update,
    covers,
    lacking,
    merge_updates,
    read_deletes,
    read_state_vector,
)
from syncd.protocol import AwarenessStates, ProtocolError, RemoteProtocolError, read_events
from syncd.protocol.awareness import decode_awareness
from syncd.protocol.frames import decode_frame, decode_frames, encode_frame
from syncd.protocol.hocuspocus.client import DocumentSession
from syncd.protocol.hocuspocus.codec import Addressed, Token, decode, encode
from syncd.protocol.hocuspocus.server import CollabSession
from syncd.protocol.lib0 import Reader
from syncd.protocol.refusals import parse_refusal
from tests.crdt_conv import handmade as by_hand
from tests.fuzz import examples


@dataclass(frozen=True)
class Target:
    """
    A decoder.

    ``feed`` reads bytes; ``refusals`` are the errors that say that they can't be read.
    """

    name: str
    feed: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    examples: tuple[bytes, ...]


def numbers(data: bytes) -> None:
    """Read primitives one after another."""
    reader = Reader(data)
    while not reader.is_at_end:
        for read in (reader.read_var_uint, reader.read_var_bytes, reader.read_var_string):
            if not reader.is_at_end:
                read()


def frames(data: bytes) -> None:
    """What is read is our own encoding; one message is the first of one."""
    read = decode_frames(data)
    assert b"".join(map(encode_frame, read)) == data
    if len(read) == 1:
        assert decode_frame(data) == read[0]


def awareness(data: bytes) -> None:
    """What is taken in can be told, and read again."""
    states = AwarenessStates()
    states.apply(data, 0.0, "somebody")
    known = decode_awareness(states.encode())
    assert {client for client, _, _ in known} <= {client for client, _, _ in decode_awareness(data)}
    states.apply(data, 1.0, "another")
    states.remove("somebody")
    states.expire(100.0)


def collab(data: bytes) -> None:
    """The server's end of the Hocuspocus dialect, before and after somebody is let in."""
    session = CollabSession()
    with suppress(RemoteProtocolError):
        session.receive(data)
    session = CollabSession()
    session.receive(encode("c", Token("t"), is_server=False))
    session.admit("c", is_read_only=False)
    session.receive(data)


def collab_client(data: bytes) -> None:
    """The client's end; what it reads can be said again."""
    session = DocumentSession("c")
    session.open("t", b"\0")
    session.diff(examples.UPDATES[0], 1)
    frame = decode(data, is_server=True)
    if isinstance(frame, Addressed):
        again = decode(encode(frame.address, frame.body, is_server=True), is_server=True)
        assert again == frame
        session.receive(frame.body)


def refusals(data: bytes) -> None:
    """A text is a refusal or none, and one that is can be told."""
    refusal = parse_refusal(data.decode(errors="surrogateescape"))
    if refusal is not None:
        assert parse_refusal(refusal.to_json()) == refusal


def updates(data: bytes) -> None:
    """What was checked merges, answers a state vector, and stands in an encoded document."""
    check_update(data)
    for base in examples.UPDATES[:2]:
        merged = merge_updates([base, data])
        check_update(merged)
        document = EncodedDocument([base])
        document.has(data)
        document.add(data)
        document.encode(document.state_vector)
        lacking(data, document.state_vector)
        document.has(base)


def documents(data: bytes) -> None:
    """A replica takes it in or refuses it, and reads on; a restart reads the same."""
    check_update(data)
    document = Document(examples.UPDATES[:1])
    with suppress(MalformedUpdate):
        document.apply(data)
    again = Document([*examples.UPDATES[:1], data])
    again.apply(examples.UPDATES[1])
    read_state_vector(again.state_vector)
    with suppress(MalformedUpdate):
        check_update(again.encode())


def conversations(data: bytes) -> None:
    """Whoever receives it goes on, and others get what was written."""
    with Store(":memory:") as ours, Store(":memory:") as theirs:
        conversation, copy = ours.join("c"), theirs.join("c")
        before = conversation.append("user", "before").id
        try:
            conversation.receive(data)
        finally:
            after = conversation.append("user", "after").id
            copy.receive(conversation.encode(copy.state_vector))
            for replica in (conversation, copy):
                assert [replica.message(one).text for one in (before, after)] == ["before", "after"]


def structs(data: bytes) -> None:
    """What pycrdt takes is read alike by both ways, and what is left of it without harm is harmless."""
    check_update(data)
    assert list(Structs(data).all()) == by_hand.one_by_one(data)
    Structs(data).ranges()
    left = without_harm(data)
    check_update(left)
    assert deepest([left]) <= DEEPEST_TYPE
    assert without_harm(left) == left


def state_vectors(data: bytes) -> None:
    """A stranger's state vector is answered."""
    document = EncodedDocument(examples.UPDATES)
    check_update(document.encode(data))
    read_state_vector(data)


def deletes(data: bytes) -> None:
    """A delete set that is read covers itself."""
    ranges = read_deletes(data)
    assert covers(ranges, {client: [r for r in of if r[1]] for client, of in ranges.items()})


WIRE, BYTES = (ProtocolError,), (MalformedUpdate,)

TARGETS = {
    target.name: target
    for target in (
        Target("lib0", numbers, WIRE, examples.PRIMITIVES),
        Target("frames", frames, WIRE, examples.FRAMES),
        Target("events", read_events, WIRE, examples.FRAMES),
        Target("awareness", awareness, WIRE, examples.PRESENCE),
        Target("hocuspocus-server", collab, WIRE, examples.FROM_CLIENTS),
        Target("hocuspocus-client", collab_client, WIRE, examples.FROM_SERVERS),
        Target("refusals", refusals, (), examples.REFUSALS),
        Target("updates", updates, BYTES, examples.UPDATES),
        Target("structs", structs, BYTES, examples.UPDATES),
        Target("documents", documents, BYTES, examples.UPDATES),
        Target("conversations", conversations, BYTES, examples.UPDATES),
        Target("state-vectors", state_vectors, BYTES, examples.STATE_VECTORS),
        Target("deletes", deletes, BYTES, examples.DELETES),
    )
}
