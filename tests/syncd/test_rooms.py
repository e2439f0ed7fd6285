"""Rooms when the store is in the way: no socket, no server, a store that fails when told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from crdt_conv import Store, StoreError
from crdt_conv.engine import Row
from crdt_conv.ids import ConversationId
from syncd.commits import GroupCommit
from syncd.protocol.frames import Update, encode_frame
from syncd.rooms import Rooms
from tests.replicas import replica

pytestmark = pytest.mark.anyio


class BrokenStore(Store):
    """A store whose file can't be read while told so."""

    is_broken = False

    def read(self, conversation: ConversationId) -> Sequence[tuple[int, bytes]]:
        """Read, or fail."""
        if self.is_broken:
            raise StoreError("the disk answered with an error")
        return super().read(conversation)


class Wire:
    """A connection that notes what is done to it."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.codes: list[int] = []

    def send(self, frame: bytes) -> None:
        """Note a frame."""
        self.frames.append(frame)

    def close(self, code: int, reason: str) -> None:
        """Note a code."""
        assert reason
        self.codes.append(code)


def gapped() -> bytes:
    """Return an update whose predecessor is missing, so that the document is read again."""
    source, updates = replica(), list[bytes]()
    source.subscribe(lambda change: updates.append(change.update))
    source.append("user", "one")
    source.append("user", "two")
    return updates[1]


async def commit_all(commits: GroupCommit) -> None:
    """Run the queue until it is empty."""
    commits.close()
    await commits.run()


async def test_a_room_that_can_t_be_read_keeps_nobody() -> None:
    """Who could not enter does not keep the room open for ever."""
    store = BrokenStore(":memory:")
    rooms = Rooms(store, GroupCommit(store.append_many))
    store.is_broken = True
    with pytest.raises(StoreError):
        rooms.enter("c", Wire())
    rooms.sweep(0)
    assert len(rooms) == 0


async def test_a_store_that_fails_behind_a_commit_closes_one_socket() -> None:
    """The queue goes on: an error after the commit is its sender's, who comes back."""
    store = BrokenStore(":memory:")
    commits = GroupCommit(store.append_many)
    rooms, wire = Rooms(store, commits), Wire()
    room = rooms.enter("c", wire)
    store.is_broken = True
    room.receive(wire, encode_frame(Update(gapped())), 0)
    await commit_all(commits)
    assert wire.codes == [1013]


async def test_an_update_that_is_not_stored_is_not_echoed() -> None:
    """Where the log can't take it, its sender is told to come back, and nobody sees it."""

    def full(rows: Sequence[Row]) -> Sequence[int]:
        raise StoreError(f"no room for {len(rows)}")

    store = Store(":memory:")
    commits = GroupCommit(full)
    rooms, wire, other = Rooms(store, commits), Wire(), Wire()
    room = rooms.enter("c", wire)
    rooms.enter("c", other)
    greeting = len(wire.frames)
    room.receive(wire, encode_frame(Update(replica_update())), 0)
    await commit_all(commits)
    assert (wire.codes, len(wire.frames), len(other.frames), store.list()) == ([1013], greeting, greeting, [])


def replica_update() -> bytes:
    """Return an update with one message."""
    source = replica()
    source.append("user", "hello")
    return source.encode()
