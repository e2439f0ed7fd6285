"""Both ends of a socket, a frame at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import (
    Acknowledged,
    AwarenessQueried,
    AwarenessReceived,
    ClientSession,
    Denied,
    DiffRequested,
    Event,
    MalformedFrame,
    ServerSession,
    Synced,
    UpdateReceived,
)

HELLO = "01010100040101740568656c6c6f00"
UPDATE = bytes.fromhex(HELLO)

STEP_1, EMPTY_STEP_2, STEP_2, AN_UPDATE = (
    "00 00 01 00",
    "00 01 02 0000",
    f"00 01 0f {HELLO}",
    f"00 02 0f {HELLO}",
)
PRESENCE, PAYLOAD = "01 06 01 01 00 02 7b7d", b"\x01\x01\x00\x02{}"

# A frame, what it is to a server, what to a client that waits for nothing.
ARRIVALS: list[tuple[str, list[Event], list[Event]]] = [
    (STEP_1, [DiffRequested(b"\x00")], [DiffRequested(b"\x00")]),
    (EMPTY_STEP_2, [], [Synced()]),
    (
        STEP_2,
        [UpdateReceived(UPDATE, is_diff=True)],
        [UpdateReceived(UPDATE, is_diff=True), Synced()],
    ),
    (AN_UPDATE, [UpdateReceived(UPDATE)], [UpdateReceived(UPDATE)]),
    ("00 02 02 0000", [], []),
    (PRESENCE, [AwarenessReceived(PAYLOAD)], [AwarenessReceived(PAYLOAD)]),
    ("03", [AwarenessQueried()], [AwarenessQueried()]),
    ("02 00 04 6e6f7065", [], [Denied("nope")]),
    ("09 616263", [], []),
    (
        f"{STEP_1} {AN_UPDATE}",
        [DiffRequested(b"\x00"), UpdateReceived(UPDATE)],
        [DiffRequested(b"\x00"), UpdateReceived(UPDATE)],
    ),
]


def echo(update: bytes) -> bytes:
    """Return the frame that a server sends when it has stored an update."""
    return ServerSession().update(update)


def connected() -> ClientSession:
    """Return a client that is in sync, its log at 10."""
    client = ClientSession()
    client.open(b"\x00")
    client.receive(bytes.fromhex(STEP_1))
    client.diff(b"\x00\x00", upto=10)
    client.receive(bytes.fromhex(EMPTY_STEP_2))
    return client


@pytest.mark.parametrize(("encoded", "to_server", "to_client"), ARRIVALS)
def test_what_arrives(encoded: str, to_server: list[Event], to_client: list[Event]) -> None:
    """Each frame is to either end what the tables say."""
    data = bytes.fromhex(encoded)
    assert ServerSession().receive(data) == to_server
    assert ClientSession().receive(data) == to_client


def test_what_a_server_sends() -> None:
    """One message a frame, against bytes written by hand."""
    server = ServerSession()
    assert server.open(b"\x00") == [bytes.fromhex(STEP_1)]
    assert server.open(b"\x00", PAYLOAD) == [bytes.fromhex(STEP_1), bytes.fromhex(PRESENCE)]
    assert server.diff(UPDATE) == bytes.fromhex(STEP_2)
    assert server.update(UPDATE) == bytes.fromhex(AN_UPDATE)
    assert server.awareness(PAYLOAD) == bytes.fromhex(PRESENCE)
    assert server.denied("nope") == bytes.fromhex("02 00 04 6e6f7065")


def test_what_a_client_sends() -> None:
    """The same, from the other end."""
    client = ClientSession()
    assert client.open(b"\x00") == bytes.fromhex(STEP_1)
    assert client.diff(UPDATE, upto=1) == (bytes.fromhex(STEP_2), [])
    assert client.update(UPDATE, upto=2) == bytes.fromhex(AN_UPDATE)


def test_the_handshake_with_nothing_to_say() -> None:
    """Two empty replicas are in sync when both were answered; an empty diff needs no echo."""
    client = ClientSession()
    client.receive(bytes.fromhex(EMPTY_STEP_2))
    assert not client.is_in_sync
    assert client.diff(b"\x00\x00", upto=7) == (bytes.fromhex(EMPTY_STEP_2), [Acknowledged(7)])
    assert client.is_in_sync


def test_a_diff_is_acknowledged_by_an_update() -> None:
    """The echo of what went out as SyncStep2 is an Update of the same bytes, and is not news."""
    client = ClientSession()
    client.receive(bytes.fromhex(EMPTY_STEP_2))
    client.diff(UPDATE, upto=7)
    assert (client.unacknowledged, client.is_in_sync) == (1, False)
    assert client.receive(echo(UPDATE)) == [Acknowledged(7)]
    assert (client.unacknowledged, client.is_in_sync) == (0, True)


def test_their_diff_is_no_echo() -> None:
    """A SyncStep2 says what they had when asked, and may be of any age; only an Update acknowledges."""
    client = connected()
    client.update(UPDATE, upto=11)
    assert client.receive(bytes.fromhex(STEP_2)) == [UpdateReceived(UPDATE, is_diff=True), Synced()]
    assert client.unacknowledged == 1


def test_before_the_diff_there_is_nothing_to_send() -> None:
    """The diff, still to come, will hold it, and its number covers it."""
    client = ClientSession()
    assert client.update(UPDATE, upto=1) is None
    assert client.unacknowledged == 0
    client.diff(UPDATE, upto=1)
    assert client.receive(echo(UPDATE)) == [Acknowledged(1)]


def test_an_empty_update_is_not_sent() -> None:
    """Nobody would echo it."""
    client = connected()
    assert client.update(b"\x00\x00", upto=11) is None
    assert client.is_in_sync


def test_only_the_front_is_acknowledged() -> None:
    """An echo that overtakes another waits for it."""
    client = connected()
    for number in (11, 12, 13):
        client.update(b"%d" % number, upto=number)
    assert client.receive(echo(b"12")) == []
    assert client.unacknowledged == 3
    assert client.receive(echo(b"11")) == [Acknowledged(12)]
    assert client.receive(echo(b"13")) == [Acknowledged(13)]
    assert client.is_in_sync


def test_an_empty_diff_waits_its_turn() -> None:
    """A second diff that is empty does not acknowledge what is still on its way before it."""
    client = connected()
    client.update(UPDATE, upto=11)
    assert client.diff(b"\x00\x00", upto=12)[1] == []
    assert client.receive(echo(UPDATE)) == [Acknowledged(12)]


def test_equal_bytes_are_counted() -> None:
    """What was sent twice is acknowledged by two echoes; a third is somebody else's update."""
    client = connected()
    client.update(UPDATE, upto=11)
    client.update(UPDATE, upto=12)
    heard = [client.receive(echo(UPDATE)) for _ in range(3)]
    assert heard == [[Acknowledged(11)], [Acknowledged(12)], [UpdateReceived(UPDATE)]]


def test_a_refusal_acknowledges_nothing() -> None:
    """What was refused goes on waiting."""
    client = connected()
    client.update(UPDATE, upto=11)
    assert client.receive(ServerSession().denied("read-only")) == [Denied("read-only")]
    assert (client.unacknowledged, client.is_in_sync) == (1, False)


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), min_size=8, max_size=8))
def test_echoes_in_any_order(order: list[int], contents: list[int]) -> None:
    """Acknowledged is the longest front that was echoed, each time; at the end it is everything."""
    client = connected()
    sent = [b"%d" % content for content in contents]
    for number, update in enumerate(sent):
        client.update(update, upto=number)
    waiting, before = list(range(8)), 0
    for turn in order:
        waiting.remove(next(number for number in waiting if sent[number] == sent[turn]))
        front = min(waiting, default=8)
        assert client.receive(echo(sent[turn])) == ([Acknowledged(front - 1)] if front > before else [])
        assert client.unacknowledged == 8 - front
        before = front
    assert client.is_in_sync


@given(st.binary(max_size=60))
def test_noise_is_survived(data: bytes) -> None:
    """Either end reads any bytes at all, or says that they are no frame, and goes on."""
    for session in (ServerSession(), connected()):
        try:
            session.receive(data)
        except MalformedFrame:
            assert session.receive(bytes.fromhex(PRESENCE)) == [AwarenessReceived(PAYLOAD)]
