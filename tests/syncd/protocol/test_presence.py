"""Presence among stock clients, over sockets that break, linger and deliver late."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import AwarenessStates
from syncd.protocol.awareness import GONE, decode_awareness, encode_awareness

PEERS = 3
RENEWAL_S = 15.0


class Stock:
    """A stock client's presence, by the rules of y-protocols 1.0.7 and y-websocket 3.1."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.clocks = {client: 1}
        self.states = {client: "{}"}

    def say(self, clients: list[int]) -> bytes:
        """Encode what is known of some clients."""
        return encode_awareness([(c, self.clocks[c], self.states.get(c, GONE)) for c in clients])

    def hear(self, payload: bytes) -> list[int]:
        """Take in what the server says; returns whom to send on, as stock clients do."""
        changed: list[int] = []
        for client, clock, state in decode_awareness(payload):
            known = self.clocks.get(client, 0)
            if known < clock or (known == clock and state == GONE and client in self.states):
                if state != GONE:
                    self.states[client] = state
                elif client != self.client:
                    self.states.pop(client, None)
                # Its own end it does not accept: it says a newer clock.
                self.clocks[client] = clock + (state == GONE and client == self.client)
                changed.append(client)
        return changed

    def lose(self) -> None:
        """Forget the states of the others, as on the end of a socket."""
        self.states = {self.client: "{}"}


class Quiet(Stock):
    """One by the rules of Hocuspocus' provider 4.8: what it learns from the server it keeps to itself."""

    def hear(self, payload: bytes) -> list[int]:
        """Take in what the server says, its own end too."""
        super().hear(payload)
        return []


class Socket:
    """What is on its way between one client and the room."""

    def __init__(self, peer: Stock) -> None:
        self.peer = peer
        self.up: deque[bytes] = deque([peer.say([peer.client])])
        self.down: deque[bytes] = deque()


class Presence:
    """A room, its clients, and a network between them."""

    def __init__(self, kinds: Sequence[type[Stock]] = (Stock,) * PEERS) -> None:
        self.now_s = 0.0
        self.table = AwarenessStates()
        self.peers = [kind(client) for client, kind in enumerate(kinds, 1)]
        self.sockets: dict[int, Socket] = {}
        self.members: list[Socket] = []

    def join(self, who: int) -> None:
        """Connect anew, while the room may still believe in the socket before."""
        self.cut(who)
        socket = self.sockets[who] = Socket(self.peers[who])
        self.members.append(socket)
        self.table.join(socket)
        if self.table:
            socket.down.append(self.table.encode())

    def cut(self, who: int) -> None:
        """Break a client's socket; what the room was sent may still arrive there."""
        if self.sockets.pop(who, None) is not None:
            self.peers[who].lose()

    def notice(self, _who: int) -> None:
        """Let the room see the sockets that are broken."""
        for socket in [one for one in self.members if one not in self.sockets.values()]:
            self.members.remove(socket)
            self.tell(self.table.remove(socket))

    def up(self, who: int) -> None:
        """Deliver a frame to the room, broken sockets' too."""
        for socket in [one for one in self.members if one.peer is self.peers[who] and one.up][:1]:
            payload = socket.up.popleft()
            changed = self.table.apply(payload, self.now_s, socket)
            if changed:
                self.tell(self.table.encode(changed))
            else:
                socket.down.append(payload)

    def down(self, who: int) -> None:
        """Deliver a frame to a client."""
        socket = self.sockets.get(who)
        if socket is not None and socket.down:
            changed = socket.peer.hear(socket.down.popleft())
            if changed:
                socket.up.append(socket.peer.say(changed))

    def renew(self, _who: int = 0) -> None:
        """Let 15 seconds pass: every client renews itself, connected or not."""
        self.now_s += RENEWAL_S
        for who, peer in enumerate(self.peers):
            peer.clocks[peer.client] += 1
            if who in self.sockets:
                self.sockets[who].up.append(peer.say([peer.client]))

    def expire(self, _who: int) -> None:
        """Let the room look at its clock."""
        self.tell(self.table.expire(self.now_s))

    def tell(self, payload: bytes | None) -> None:
        """Send to every member."""
        for socket in self.members if payload is not None else []:
            socket.down.append(payload or b"")

    def settle(self) -> None:
        """Deliver everything, and what comes of it."""
        self.notice(0)
        while any(socket.up or socket.down for socket in self.members):
            for who in range(PEERS):
                self.up(who)
                self.down(who)


STEPS = st.sampled_from(["join", "cut", "notice", "up", "up", "down", "down", "renew", "expire"])


@given(
    st.lists(st.tuples(STEPS, st.integers(0, PEERS - 1)), max_size=60),
    st.sets(st.integers(0, PEERS - 1)),
    st.lists(st.sampled_from([Stock, Quiet]), min_size=PEERS, max_size=PEERS),
)
def test_everybody_sees_who_is_there(
    steps: list[tuple[str, int]], present: set[int], kinds: list[type[Stock]]
) -> None:
    """However sockets broke before: one renewal later all that are connected are seen, and nobody else."""
    room = Presence(kinds)
    for step, who in steps:
        getattr(room, step)(who)
    for who in range(PEERS):
        room.join(who) if who in present else room.cut(who)
    room.settle()
    room.renew()
    room.settle()
    expected = {room.peers[who].client for who in present}
    for who in present:
        assert room.peers[who].states.keys() == expected
    assert {client for client, _, _ in decode_awareness(room.table.encode())} == expected


@pytest.mark.parametrize("kind", [Stock, Quiet])
def test_who_reconnects_is_seen_again_at_once(kind: type[Stock]) -> None:
    """Nobody waits for a renewal, though the others saw it leave at a later clock than its own."""
    room = Presence([kind] * PEERS)
    for who in range(PEERS):
        room.join(who)
    room.settle()
    room.cut(0)
    room.settle()
    assert room.peers[1].states.keys() == {2, 3}
    room.join(0)
    room.settle()
    assert room.peers[1].states.keys() == room.peers[2].states.keys() == {1, 2, 3}
