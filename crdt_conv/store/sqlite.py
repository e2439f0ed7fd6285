"""
The log in one SQLite file: write-ahead log, ``synchronous=FULL``.

An append is one transaction and returns after the fsync, so whatever has a
sequence number is on disk. Foreign exceptions end here: every ``sqlite3.Error``
leaves as a ``StoreError``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlite_utils import Database

from crdt_conv.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
    StoreTooNew,
)
from crdt_conv.ids import ConversationId
from crdt_conv.store.migrations import migrations


class Row(NamedTuple):
    """One update on its way into the log."""

    conversation: ConversationId
    update: bytes
    origin: str | None = None


class ConversationInfo(NamedTuple):
    """What the list of conversations shows; times in milliseconds."""

    id: ConversationId
    title: str
    created: int
    updated: int


_SCHEMA_LOCK_S = 5.0


class SqliteLog:
    """One SQLite file. Safe to use from several threads; one process writes."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        """
        Open a file, made where it is missing, or ``:memory:``.

        Raises:
            StoreError: It can't be opened, read, written or understood.
        """
        self.path = path
        self._lock = threading.RLock()
        with self._border():
            self._connection = self._connect(read_only=read_only)
            self._db = Database(self._connection)
            self._check_version()
            if not read_only:
                migrations.apply(self._db)
        self._is_open = True

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        if str(self.path) == ":memory:":
            return self._prepare(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
        file = Path(self.path).absolute()
        if read_only and not file.exists():
            raise StoreMissing(f"there is no store at {self.path}: 'conv new' makes one")
        connection = sqlite3.connect(
            f"{file.as_uri()}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_SCHEMA_LOCK_S,
        )
        return connection if read_only else self._prepare(connection)

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        return connection

    def _check_version(self) -> None:
        known = {migration.name for migration in migrations.pending(self._db)}
        known |= {migration.name for migration in migrations.applied(self._db)}
        ours = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - no public list
        if known - ours:
            raise StoreTooNew(f"{self.path} was written by a later version of crdt-conv: upgrade to open it")

    def close(self) -> None:
        """Close the file; nothing is waiting, since every append ends on disk."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                self._connection.close()

    # The log

    def append(self, rows: Sequence[Row], *, at_ms: int) -> list[int]:
        """
        Append updates in one transaction, on disk when this returns.

        Args:
            rows: In the order they get their sequence numbers.
            at_ms: The time that the list of conversations shows.

        Returns:
            A sequence number for each.

        Raises:
            StoreError: None of them was appended.
        """
        with self._writing() as execute:
            seqs = [self._insert(execute, row) for row in rows]
            for conversation in {row.conversation for row in rows}:
                execute(
                    "insert into conversations (id, created, updated) values (?, ?, ?)"
                    " on conflict (id) do update set updated = excluded.updated",
                    (conversation, at_ms, at_ms),
                )
        return seqs

    @staticmethod
    def _insert(execute: Any, row: Row) -> int:
        inserted = execute(
            "insert into updates (conversation, origin, data) values (?, ?, ?)",
            (row.conversation, row.origin, row.update),
        )
        return int(inserted.lastrowid)

    def read(self, conversation: ConversationId, after: int = 0) -> list[tuple[int, bytes]]:
        """Return ``(seq, update)`` of a conversation behind ``after``, in sequence."""
        return self._rows(
            "select seq, data from updates where conversation = ? and seq > ? order by seq",
            conversation,
            after,
        )

    def discard(self, seq: int) -> None:
        """Remove an update that was never acknowledged."""
        with self._writing() as execute:
            execute("delete from updates where seq = ?", (seq,))

    # Conversations

    def conversations(self) -> list[ConversationInfo]:
        """Return all conversations, the one that changed last first."""
        rows = self._rows(
            "select id, title, created, updated from conversations order by updated desc, id desc"
        )
        return [ConversationInfo(*row) for row in rows]

    def has(self, conversation: str) -> bool:
        """Whether anything of this conversation is in the log."""
        return bool(self._rows("select 1 from conversations where id = ?", conversation))

    def describe(self, conversation: ConversationId, title: str) -> None:
        """Keep the title for the list."""
        with self._writing() as execute:
            execute("update conversations set title = ? where id = ?", (title, conversation))

    # Leases

    def acquire_lease(self, name: str, owner: str, *, at_ms: int, until_ms: int) -> int | None:
        """
        Take or renew a lease in one atomic statement.

        Args:
            name: What is leased, a run say.
            owner: Who asks. An owner who holds it renews it and keeps the epoch.
            at_ms: Now.
            until_ms: When it ends by itself.

        Returns:
            The epoch, one higher with every new owner; ``None`` while another holds it.
        """
        with self._writing() as execute:
            granted = execute(
                "insert into leases (name, owner, epoch, expires) values (:name, :owner, 1, :until)"
                " on conflict (name) do update set"
                " epoch = epoch + (owner <> :owner or expires <= :now), owner = :owner, expires = :until"
                " where owner = :owner or expires <= :now returning epoch",
                {"name": name, "owner": owner, "now": at_ms, "until": until_ms},
            ).fetchone()
        return None if granted is None else int(granted[0])

    def release_lease(self, name: str, owner: str) -> None:
        """End a lease now, if this owner holds it; the epoch stays."""
        with self._writing() as execute:
            execute("update leases set expires = 0 where name = ? and owner = ?", (name, owner))

    # Outbox

    def acknowledged(self, peer: str, conversation: ConversationId) -> int:
        """Return the ``seq`` up to which a peer has everything."""
        rows = self._rows("select seq from outbox where peer = ? and conversation = ?", peer, conversation)
        return int(rows[0][0]) if rows else 0

    def acknowledge(self, peer: str, conversation: ConversationId, seq: int) -> None:
        """Write down that a peer has everything up to ``seq``; never backwards."""
        with self._writing() as execute:
            execute(
                "insert into outbox values (?, ?, ?) on conflict do update set seq = max(seq, excluded.seq)",
                (peer, conversation, seq),
            )

    def waiting(self, peer: str, conversation: ConversationId) -> int:
        """Count the updates that did not come from a peer and that it has not acknowledged."""
        rows = self._rows(
            "select count(*) from updates where conversation = ? and seq > ? and origin is not ?",
            conversation,
            self.acknowledged(peer, conversation),
            peer,
        )
        return int(rows[0][0])

    def last_seq(self, conversation: ConversationId) -> int:
        """Return the highest sequence number of a conversation, 0 without any."""
        return int(
            self._rows("select coalesce(max(seq), 0) from updates where conversation = ?", conversation)[0][0]
        )

    # Settings

    def setting(self, key: str) -> str:
        """Return a setting, or ``""``."""
        rows = self._rows("select value from settings where key = ?", key)
        return str(rows[0][0]) if rows else ""

    def set_setting(self, key: str, value: str) -> str:
        """Write a setting down; returns it."""
        with self._writing() as execute:
            execute("insert or replace into settings values (?, ?)", (key, value))
        return value

    # The border to sqlite3

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with self._lock, self._border():
            self._check_open()
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        with self._lock, self._border():
            self._check_open()
            self._connection.execute("begin immediate")
            try:
                yield self._connection.execute
                self._connection.execute("commit")
            except BaseException:
                # SQLite has rolled back by itself after a full disk, say.
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError(f"the store {self.path} is closed")

    @contextmanager
    def _border(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _store_error(self.path, error) from error
        except OSError as error:
            raise StoreReadOnly(f"can't open {self.path}: {error.strerror}") from error


_BY_CODE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (
        StoreFull,
        "the disk is full; what was acknowledged is safe, make room and try again",
    ),
    sqlite3.SQLITE_READONLY: (
        StoreReadOnly,
        "it can't be written; look at the file's and the folder's rights",
    ),
    sqlite3.SQLITE_CANTOPEN: (StoreReadOnly, "it can't be opened; look at the folder and its rights"),
    sqlite3.SQLITE_PERM: (StoreReadOnly, "it can't be opened; look at its rights"),
    sqlite3.SQLITE_NOTADB: (StoreCorrupt, "it is no SQLite database"),
    sqlite3.SQLITE_CORRUPT: (StoreCorrupt, "the file is damaged; take a copy before anything else"),
    sqlite3.SQLITE_IOERR: (StoreError, "the disk answered with an error"),
    sqlite3.SQLITE_BUSY: (StoreError, "another program holds the file; close it and try again"),
}


def _store_error(path: str | Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    # The low byte is the primary code, the rest says more of the same.
    kind, text = _BY_CODE.get((code or 0) & 0xFF, (StoreError, str(error)))
    return kind(f"{path}: {text}")
