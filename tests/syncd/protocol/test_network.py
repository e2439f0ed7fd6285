"""
Both ends of the Hocuspocus dialect, wired to each other by a network that cuts anywhere.

The document is the least that is one: a set of numbers. Its state vector lists them;
an update lists some, and ends in the empty set of deletes. The oracle is the set that
the server has on disk: nothing that was acknowledged may be missing there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import Acknowledged, DiffRequested, UpdateReceived
from syncd.protocol.hocuspocus import client, server
from syncd.protocol.hocuspocus.codec import Addressed, Sync, SyncStatus, decode, encode
from syncd.protocol.lib0 import Reader, encode_var_uint
from syncd.protocol.ysync import SyncStep1, SyncStep2, Update

CLIENTS = 2


def encode_set(numbers: Iterable[int]) -> bytes:
    """Encode numbers behind their count."""
    ordered = sorted(numbers)
    return b"".join(map(encode_var_uint, (len(ordered), *ordered)))


def decode_set(data: bytes) -> set[int]:
    """Decode a state vector, or an update."""
    reader = Reader(data)
    return {reader.read_var_uint() for _ in range(reader.read_var_uint())}


def encode_update(numbers: Iterable[int]) -> bytes:
    """Encode an update; of nothing it is ``00 00``."""
    return encode_set(numbers) + b"\x00"


class Wire:
    """One socket: what is on its way, and the two sessions."""

    def __init__(self) -> None:
        self.client, self.server = client.DocumentSession("c"), server.CollabSession()
        self.is_asking = self.is_in = False
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()

    def say(self, body: Sync | SyncStatus) -> None:
        """Send something from the server."""
        self.down.append(encode("c", body, is_server=True))


class Replica:
    """A client: its log, which numbers its updates from 1, and how much of it was acknowledged."""

    def __init__(self) -> None:
        self.log: list[int] = []
        self.acknowledged = 0
        self.wire: Wire | None = None


class World:
    """A server with a disk, its clients, and a network that anything may happen to."""

    def __init__(self) -> None:
        self.disk: set[int] = set()
        self.queue: deque[tuple[Wire, bytes]] = deque()
        self.replicas = [Replica() for _ in range(CLIENTS)]

    @property
    def wires(self) -> list[Wire]:
        """The sockets that are open."""
        return [replica.wire for replica in self.replicas if replica.wire is not None]

    # What may happen, each to one client

    def join(self, who: int) -> None:
        """Connect, where there is no socket."""
        replica = self.replicas[who]
        if replica.wire is None:
            wire = replica.wire = Wire()
            wire.up.extend(wire.client.open("token", encode_set(replica.log)))

    def admit(self, who: int) -> None:
        """Let a client in that has shown its token, and hear what it said meanwhile."""
        wire = self.replicas[who].wire
        if wire is not None and wire.is_asking:
            wire.is_asking, wire.is_in = False, True
            frame, waiting = wire.server.admit("c", is_read_only=False)
            wire.down.append(frame)
            wire.say(Sync(SyncStep1(encode_set(self.disk))))
            for told in waiting:
                self.serve(wire, told)

    def cut(self, who: int) -> None:
        """Lose the socket and all that is on its way; what the server has queued it still commits."""
        self.replicas[who].wire = None

    def crash(self, _who: int) -> None:
        """Lose every socket and the queue; the disk stays."""
        self.queue.clear()
        for who in range(CLIENTS):
            self.cut(who)

    def write(self, who: int) -> None:
        """Write locally. Small numbers, so that two clients write the same bytes now and then."""
        replica = self.replicas[who]
        number = len(replica.log) // 2
        replica.log.append(number)
        if replica.wire is not None:
            frame = replica.wire.client.update(encode_update([number]), len(replica.log))
            replica.wire.up.extend([] if frame is None else [frame])

    def up(self, who: int) -> None:
        """Deliver a frame to the server."""
        wire = self.replicas[who].wire
        if wire is not None and wire.up:
            for event in wire.server.receive(wire.up.popleft()):
                self.serve(wire, event)

    def down(self, who: int) -> None:
        """Deliver a frame to the client."""
        replica = self.replicas[who]
        if replica.wire is not None and replica.wire.down:
            frame = decode(replica.wire.down.popleft(), is_server=True)
            assert isinstance(frame, Addressed)
            for event in replica.wire.client.receive(frame.body):
                self.handle(replica, replica.wire, event)

    def commit(self, _who: int = 0) -> None:
        """Write the oldest update in the queue to disk; then answer its sender, and tell the others."""
        if self.queue:
            sender, update = self.queue.popleft()
            self.disk |= decode_set(update)
            sender.say(SyncStatus(is_stored=True))
            for wire in self.wires:
                if wire.is_in and wire is not sender:
                    wire.say(Sync(Update(update)))

    # How either end behaves

    def serve(self, wire: Wire, event: server.Event) -> None:
        """Do what a room does."""
        match event:
            case server.TokenReceived():
                wire.is_asking = True
            case server.Told(_, DiffRequested(state_vector)):
                wire.say(Sync(SyncStep2(encode_update(self.disk - decode_set(state_vector)))))
            case server.Told(_, UpdateReceived(update)):
                self.queue.append((wire, update))

    def handle(self, replica: Replica, wire: Wire, event: client.Event) -> None:
        """Do what a link does, and hold every acknowledgement against the disk."""
        match event:
            case DiffRequested(state_vector):
                missing = set(replica.log) - decode_set(state_vector)
                wire.up.append(wire.client.diff(encode_update(missing), len(replica.log)))
            case UpdateReceived(update):
                replica.log.extend(sorted(decode_set(update) - set(replica.log)))
            case Acknowledged(upto):
                assert set(replica.log[:upto]) <= self.disk
                replica.acknowledged = max(replica.acknowledged, upto)

    def heal(self) -> None:
        """Connect everybody, and let everything arrive."""
        for who in range(CLIENTS):
            self.join(who)
        while self.queue or any(wire.up or wire.down or wire.is_asking for wire in self.wires):
            self.commit()
            for who in range(CLIENTS):
                self.admit(who)
                self.up(who)
                self.down(who)

    def check(self) -> None:
        """Everybody has everything, and knows it."""
        for replica in self.replicas:
            assert set(replica.log) == self.disk
            assert replica.wire is not None
            assert replica.wire.client.is_in_sync
            assert replica.wire.client.unanswered == 0


HAPPENINGS = ["join", "cut", "crash", "write", "write", "admit", "up", "up", "down", "down", "commit"]
STEPS = st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, CLIENTS - 1))


@given(st.lists(STEPS, max_size=80))
def test_whatever_happens_nothing_acknowledged_is_lost(steps: list[tuple[str, int]]) -> None:
    """Cuts and crashes at any point: each acknowledgement holds, and in the end both sides agree."""
    world = World()
    for happening, who in steps:
        getattr(world, happening)(who)
    world.heal()
    world.check()


def typed(world: World, seed: int, steps: int) -> None:
    """Let two connected clients write, over a network whose pace is drawn from a seed."""
    random = Random(seed)
    world.join(0)
    world.join(1)
    for _ in range(steps):
        getattr(world, random.choice(["write", "admit", "up", "up", "down", "down", "commit"]))(
            random.randrange(CLIENTS)
        )


@pytest.mark.parametrize("end", ["cut", "crash"])
@pytest.mark.parametrize("steps", range(0, 60, 2))
def test_reconnect_after_an_end_at_any_point(steps: int, end: str) -> None:
    """Wherever it ends, new sessions bring both sides together, and know it."""
    for seed in range(20):
        world = World()
        typed(world, seed, steps)
        getattr(world, end)(0)
        world.heal()
        world.check()


def test_without_trouble_everything_is_acknowledged() -> None:
    """What each wrote was acknowledged, to the last number of its own."""
    world = World()
    typed(world, seed=1, steps=200)
    own = [len(replica.log) for replica in world.replicas]
    world.write(0)
    world.heal()
    world.check()
    assert world.replicas[0].acknowledged >= own[0] + 1
    assert len(world.disk) > 10
