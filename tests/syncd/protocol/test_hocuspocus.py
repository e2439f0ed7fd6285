"""The Hocuspocus dialect: captured frames, every frame there and back, and any bytes at all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import Acknowledged, DiffRequested, Synced, UpdateReceived
from syncd.protocol.errors import MalformedFrame, ProtocolError
from syncd.protocol.hocuspocus.client import Admitted, Closed, Denied, DocumentSession, Refused
from syncd.protocol.hocuspocus.codec import (
    Addressed,
    Authenticated,
    Awareness,
    Body,
    Close,
    PermissionDenied,
    Ping,
    Pong,
    QueryAwareness,
    Stateless,
    Sync,
    SyncStatus,
    Token,
    TokenWanted,
    Unknown,
    decode,
    encode,
    envelope,
    presence_envelope,
)
from syncd.protocol.hocuspocus.server import CloseRequested, CollabSession, Pinged, TokenReceived, Told
from syncd.protocol.lib0 import encode_var_bytes
from syncd.protocol.refusals import Refusal, Status, parse_refusal
from syncd.protocol.ysync import SyncStep1, SyncStep2, Update, encode_sync

HELLO = bytes.fromhex("01010100040101740568656c6c6f00")

# Captured between a stock server and stock providers: who sent it, the bytes, what it says.
CAPTURED: list[tuple[bool, str, Body]] = [
    (False, "06636f6e762d31020003746f6b05342e382e30", Token("tok", "4.8.0")),
    (False, "06636f6e762d31020003746f6b", Token("tok")),
    (False, "06636f6e762d3100000100", Sync(SyncStep1(b"\0"))),
    (False, "06636f6e762d3101060101 00027b7d".replace(" ", ""), Awareness(bytes.fromhex("010100027b7d"))),
    (True, "06636f6e762d3102020a726561642d7772697465", Authenticated(is_read_only=False)),
    (True, "06636f6e762d31020208726561646f6e6c79", Authenticated(is_read_only=True)),
    (True, "06636f6e762d3100000100", Sync(SyncStep1(b"\0"))),
    (True, "06636f6e762d310001020000", Sync(SyncStep2(b"\0\0"))),
    (True, "06636f6e762d310801", SyncStatus(is_stored=True)),
    (True, "06636f6e762d310800", SyncStatus(is_stored=False)),
    (False, "06636f6e762d3100020f" + HELLO.hex(), Sync(Update(HELLO))),
    (True, "06636f6e762d310201046e6f7065", PermissionDenied("nope")),
    (True, "06636f6e762d310200", TokenWanted()),
    (False, "06636f6e762d3107", Close()),
    (True, "06636f6e762d31071270726f76696465725f696e69746961746564", Close("provider_initiated")),
]


@pytest.mark.parametrize(("is_server", "frame", "body"), CAPTURED)
def test_captured_frames(is_server: object, frame: str, body: Body) -> None:
    """What stock programs say is read as they mean it, and said as they say it."""
    data = bytes.fromhex(frame)
    assert decode(data, is_server=bool(is_server)) == Addressed("conv-1", body)
    assert encode("conv-1", body, is_server=bool(is_server)) == data


def test_a_session_s_address_is_repeated() -> None:
    """An address may carry a session behind a NUL; the document is what stands before it."""
    session = CollabSession()
    [asked] = session.receive(encode("conv-1\0pqk4jf2p5", Token("t", "4"), is_server=False))
    assert asked == TokenReceived("conv-1\0pqk4jf2p5", "conv-1", "t", "4")
    frame, _ = session.admit("conv-1\0pqk4jf2p5", is_read_only=False)
    assert frame.startswith(bytes.fromhex("10636f6e762d310070716b346a66327035"))


@pytest.mark.parametrize("address", ["", " ", "\0x", "a\0", "a\0b\0c", "x" * 1001])
def test_an_address_names_a_document(address: str) -> None:
    """Blank names, and NULs where none belongs, are refused."""
    with pytest.raises(MalformedFrame):
        decode(encode(address, QueryAwareness(), is_server=False), is_server=False)


addresses = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
messages = st.one_of(
    st.builds(SyncStep1, st.binary(max_size=9)),
    st.builds(SyncStep2, st.binary(max_size=9)),
    st.builds(Update, st.binary(max_size=9)),
)
both = [
    st.builds(Sync, messages),
    st.builds(Awareness, st.binary(max_size=9)),
    st.just(QueryAwareness()),
    st.builds(Stateless, texts),
    st.builds(Unknown, st.integers(9, 2**40), st.binary(max_size=9)),
]
from_server = st.one_of(
    *both,
    st.builds(PermissionDenied, texts),
    st.builds(Authenticated, st.booleans()),
    st.just(TokenWanted()),
    st.builds(Close, texts),
    st.builds(SyncStatus, st.booleans()),
)
from_client = st.one_of(*both, st.builds(Token, texts, st.none() | texts), st.just(Close()))


@given(address=addresses.filter(str.strip), body=from_server)
def test_what_a_server_says_comes_back(address: str, body: Body) -> None:
    """Encoded and decoded, it is the same."""
    assert decode(encode(address, body, is_server=True), is_server=True) == Addressed(address, body)


@given(address=addresses.filter(str.strip), body=from_client)
def test_what_a_client_says_comes_back(address: str, body: Body) -> None:
    """Encoded and decoded, it is the same."""
    assert decode(encode(address, body, is_server=False), is_server=False) == Addressed(address, body)


@given(address=addresses, message=messages, payload=st.binary(max_size=9))
def test_an_envelope_is_what_stands_before_the_message(address: str, message: Update, payload: bytes) -> None:
    """A relay is encoded once for all with the same envelope."""
    assert encode_sync(message, envelope(address)) == encode(address, Sync(message), is_server=True)
    told = encode_var_bytes(payload, presence_envelope(address))
    assert told == encode(address, Awareness(payload), is_server=True)


@given(data=st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"\x01c" + rest))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """A session reads bytes, or raises what closes its socket; nothing else."""
    session = CollabSession()
    session.receive(encode("c", Token("t"), is_server=False))
    session.admit("c", is_read_only=False)
    with contextlib.suppress(ProtocolError):
        session.receive(data)
    client = DocumentSession("c")
    try:
        frame = decode(data, is_server=True)
    except ProtocolError:
        return
    if isinstance(frame, Addressed):
        client.receive(frame.body)


def test_frames_wait_for_the_way_in() -> None:
    """What is said before is told once the client is let in, in order; what the denied say is passed over."""
    session = CollabSession()

    def say(body: Body) -> list[object]:
        return list(session.receive(encode("c", body, is_server=False)))

    assert say(Sync(SyncStep1(b"\0"))) == []
    say(Token("t"))
    assert say(Sync(SyncStep1(b"\1"))) == []
    assert say(Sync(Update(b"\0\0"))) == []
    _, waiting = session.admit("c", is_read_only=False)
    assert waiting == [Told("c", DiffRequested(b"\1")), Told("c", UpdateReceived(b"\0\0"))]
    assert say(Sync(SyncStep2(HELLO))) == [Told("c", UpdateReceived(HELLO, is_diff=True))]
    session.deny("c", "no")
    assert say(Sync(Update(HELLO))) == []
    assert say(Close()) == [CloseRequested("c")]
    assert session.receive(b"\x09") == [Pinged()]
    assert (decode(b"\x09", is_server=True), decode(b"\x0a", is_server=False)) == (Ping(), Pong())


def test_a_client_knows_how_far_it_is_stored() -> None:
    """Frames are answered in order; the front moves with each, and a refusal stops it."""
    client = DocumentSession("c")
    assert client.update(HELLO, 1) is None
    client.open("t", b"\0")
    assert client.receive(Authenticated(is_read_only=False)) == [Admitted(is_read_only=False)]
    assert client.receive(Sync(SyncStep1(b"\0"))) == [DiffRequested(b"\0")]
    client.diff(b"\0\0", 3)
    assert client.receive(Sync(SyncStep2(b"\0\0"))) == [Synced()]
    assert not client.is_in_sync
    assert client.receive(SyncStatus(is_stored=True)) == [Acknowledged(3)]
    assert client.is_in_sync
    client.update(HELLO, 4)
    client.update(HELLO, 5)
    client.receive(Stateless(Refusal(Status.RATE_LIMITED, "slowly").to_json()))
    [refused] = client.receive(SyncStatus(is_stored=False))
    assert refused == Refused(Refusal(Status.RATE_LIMITED, "slowly"))
    assert client.receive(SyncStatus(is_stored=True)) == []
    assert not client.is_in_sync
    assert client.receive(PermissionDenied("no")) == [Denied("no")]


def test_a_close_says_whether_coming_back_is_of_use() -> None:
    """After "evicted" it is final; after anything else it is not."""
    for status, is_final in ((Status.EVICTED, True), (Status.TRY_AGAIN, False)):
        client = DocumentSession("c")
        client.receive(Stateless(Refusal(status, "why").to_json()))
        assert client.receive(Close("x")) == [Closed("why", is_final)]
    assert DocumentSession("c").receive(Close("x")) == [Closed("x", is_final=False)]


@given(text=st.text(max_size=40) | st.just('{"status": "evicted", "reason": [') | st.just("[" * 5000))
def test_any_text_is_a_refusal_or_none(text: str) -> None:
    """A stateless message is somebody's own, unless it has the shape of ours."""
    assert parse_refusal(text) is None
    refusal = Refusal(Status.EVICTED, text)
    assert parse_refusal(refusal.to_json()) == refusal
