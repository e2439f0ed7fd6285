"""The tables beside the log: leases and the outbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from crdt_conv.engine import Row
from crdt_conv.errors import StoreError
from crdt_conv.ids import ConversationId
from crdt_conv.store import SqliteEngine
from crdt_conv.store.sqlite.connection import Connection

C = ConversationId("c")


@pytest.fixture
def log() -> SqliteEngine:
    """Return an empty log in memory."""
    return SqliteEngine(":memory:")


def test_rows_get_numbers_in_order(log: SqliteEngine) -> None:
    """Appended together or one by one, updates are read in the order of their numbers."""
    assert log.append([Row(C, b"1"), Row(ConversationId("d"), b"2"), Row(C, b"3")], at_ms=5) == [1, 2, 3]
    assert log.read(C) == [(1, b"1"), (3, b"3")]
    assert log.read(C, after=1) == [(3, b"3")]
    assert log.last_seq(C) == 3


def test_a_discarded_number_is_not_given_again(log: SqliteEngine) -> None:
    """A number names one update for ever."""
    log.append([Row(C, b"1"), Row(C, b"2")], at_ms=5)
    log.discard(2)
    assert log.append([Row(C, b"3")], at_ms=5) == [3]


# Who asks, at which time, for how long; the epoch, or nothing.
LEASES = [
    ("a", 0, 10, 1),
    ("b", 5, 10, None),
    ("a", 8, 10, 1),
    ("b", 17, 10, None),
    ("b", 18, 10, 2),
    ("a", 19, 10, None),
]


def test_a_lease_has_one_owner_at_a_time(log: SqliteEngine) -> None:
    """An owner renews its lease under the same epoch; another gets it when it has ended, under the next."""
    granted = [
        (owner, at, ttl, log.acquire_lease("r", owner, at_ms=at, until_ms=at + ttl))
        for owner, at, ttl, _ in LEASES
    ]
    assert granted == LEASES


def test_a_late_owner_does_not_get_its_old_epoch_back(log: SqliteEngine) -> None:
    """Who let a lease end takes it anew, under a new epoch: it may have missed another owner."""
    assert log.acquire_lease("r", "a", at_ms=0, until_ms=10) == 1
    assert log.acquire_lease("r", "a", at_ms=10, until_ms=20) == 2


def test_a_released_lease_is_free_at_once(log: SqliteEngine) -> None:
    """Only its owner can give it back."""
    log.acquire_lease("r", "a", at_ms=0, until_ms=10)
    log.release_lease("r", "b")
    assert log.acquire_lease("r", "b", at_ms=1, until_ms=10) is None
    log.release_lease("r", "a")
    assert log.acquire_lease("r", "b", at_ms=2, until_ms=10) == 2


def test_the_outbox_counts_what_a_peer_lacks(log: SqliteEngine) -> None:
    """What came from a peer never waits for it; an acknowledgement never goes backwards."""
    log.append([Row(C, b"1"), Row(C, b"2", "peer"), Row(C, b"3", "other")], at_ms=5)
    assert log.waiting("peer", C) == 2
    log.acknowledge("peer", C, 1)
    assert log.waiting("peer", C) == 1
    log.acknowledge("peer", C, 3)
    log.acknowledge("peer", C, 2)
    assert (log.waiting("peer", C), log.waiting("third", C)) == (0, 3)


def test_what_is_derived_is_written_without_fsync_and_nothing_else(tmp_path: Path) -> None:
    """The next transaction is durable by itself again, whatever became of the one that was not."""
    connection = Connection(tmp_path / "chats.db")
    level = "pragma synchronous"
    with connection.deriving() as execute:
        assert execute(level).fetchone() == (1,)
        execute("insert into settings values ('a', '1')")
    with pytest.raises(StoreError), connection.deriving() as execute:
        execute("insert into nowhere values (1)")
    assert connection.rows(level) == [(2,)]
    with connection.writing(), connection.deriving() as execute:
        assert execute(level).fetchone() == (2,)
    connection.close()
