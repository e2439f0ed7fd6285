"""
The border to ``sqlite3``: one connection, and every ``sqlite3.Error`` leaves as a ``StoreError``.

Write-ahead log and ``synchronous=FULL``: what was committed is on disk.
``secure_delete``: what was deleted is overwritten. Safe to use from several threads.

An fsync that fails is not made good by the next one: Linux takes what it was for as written. What came
behind it in the log would be lost with it, so before anything else is written all of the log goes into
the file, and the log begins anew.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database

from crdt_conv.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
    StoreTooNew,
)
from crdt_conv.store.sqlite.migrations import migrations

_SCHEMA_LOCK_S: Final = 5.0
_LOG_BYTES: Final = 1005 * (4096 + 24)
"""The write-ahead log stays so large: SQLite checkpoints it after 1,000 pages."""


class Connection:
    """One SQLite file. One process writes; others may read beside it."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        """
        Open a file, made where it is missing, or ``:memory:``.

        Raises:
            StoreError: It can't be opened, read, written or understood.
        """
        self.path = path
        self.lock = threading.RLock()
        """Held for each statement and transaction; also by who needs several to be of one moment."""
        self._is_doubtful = False
        """Whether an fsync failed, and what it was for may be lost with the power."""
        with self.border():
            self._connection = self._connect(read_only=read_only)
            try:
                self._prepare(read_only=read_only)
            except BaseException:
                # Not when the garbage collector comes: nobody else could open or unmount it till then.
                self._connection.close()
                raise
        self._is_open = True

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        if self.is_memory:
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        file = Path(self.path).absolute()
        if read_only and not file.exists():
            raise StoreMissing(f"there is no store at {self.path}: 'conv new' makes one")
        return sqlite3.connect(
            f"{file.as_uri()}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_SCHEMA_LOCK_S,
        )

    def _prepare(self, *, read_only: bool) -> None:
        execute = self._connection.execute
        if not read_only:
            if execute("pragma page_count").fetchone()[0] == 0:
                # It takes effect only before anything is in the file.
                execute("pragma auto_vacuum = incremental")
            execute("pragma journal_mode = wal")
            execute("pragma synchronous = full")
            execute("pragma secure_delete = on")
            # What a snapshot makes of it is given back; see ``shrink``.
            execute(f"pragma journal_size_limit = {_LOG_BYTES}")
        self.db = Database(self._connection)
        self._migrate(read_only=read_only)

    def _migrate(self, *, read_only: bool) -> None:
        ours = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - no public list
        # Asking for the records takes longer than all the rest of opening.
        if self._connection.execute("pragma user_version").fetchone()[0] == len(ours):
            return
        if {migration.name for migration in migrations.applied(self.db)} - ours:
            raise StoreTooNew(f"{self.path} was written by a later version of crdt-conv: upgrade to open it")
        if read_only and migrations.pending(self.db):
            raise StoreReadOnly(
                f"{self.path} is of an earlier version: opened for writing once, it is upgraded"
            )
        if not read_only:
            migrations.apply(self.db)
            self._connection.execute(f"pragma user_version = {len(ours)}")

    @property
    def is_memory(self) -> bool:
        """Whether there is no file."""
        return str(self.path) == ":memory:"

    def close(self) -> None:
        """Close the file; nothing is waiting, since every append ends on disk."""
        with self.lock:
            if self._is_open:
                self._is_open = False
                self._connection.close()

    # Statements

    def rows(self, statement: str, *values: object) -> list[Any]:
        """Return all rows of one statement."""
        with self.lock, self.border():
            self._check_open()
            return self._connection.execute(statement, values).fetchall()

    def write(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement that is a transaction of its own, on disk when this returns."""
        # Without the context managers of a longer one: every append comes through here.
        with self.lock:
            self._check_open()
            if self._is_doubtful:
                self._make_sure()
            try:
                return self._connection.execute(statement, values)
            except sqlite3.Error as error:
                raise self._failed(error) from error

    @contextmanager
    def reading(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Read several things as they were at one moment."""
        with self._transaction("begin") as execute:
            yield execute

    @contextmanager
    def writing(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Write in one transaction, on disk when this ends; an error leaves no trace of it."""
        with self.lock:
            if self._is_doubtful and not self._connection.in_transaction:
                self._make_sure()
            with self._transaction("begin immediate") as execute:
                yield execute

    @contextmanager
    def deriving(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Write what can be made anew in one transaction without an fsync: the next one brings it along."""
        with self.lock, self.border():
            self._check_open()
            if self._connection.in_transaction:
                yield self._connection.execute
                return
            pages = self._connection.execute("pragma wal_autocheckpoint").fetchone()[0]
            # Not the checkpoint behind a commit: SQLite tells nobody when the fsync of that one fails.
            self._connection.executescript("pragma synchronous = normal; pragma wal_autocheckpoint = 0")
            try:
                with self.writing() as execute:
                    yield execute
            finally:
                self._connection.executescript(
                    f"pragma synchronous = full; pragma wal_autocheckpoint = {pages}"
                )

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self.lock, self.border():
            self._check_open()
            if self._connection.in_transaction:
                # Inside another of this thread: part of it.
                yield self._connection.execute
                return
            self._connection.execute(begin)
            try:
                yield self._connection.execute
                self._connection.execute("commit")
            except BaseException:
                # SQLite has rolled back by itself after a full disk, say.
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def run(self, statement: str) -> list[Any]:
        """Run a statement outside of any transaction, a ``vacuum`` say."""
        return self.rows(statement)

    def shrink(self) -> None:
        """Give free pages back, and let the write-ahead log be written from its beginning again."""
        with self.lock, self.border():
            self._check_open()
            # Not execute(): that takes one step, which frees one page.
            self._connection.executescript("pragma incremental_vacuum")
            # Not emptied: an fsync of a file that grows takes half as long again.
            self._connection.execute("pragma wal_checkpoint(passive)").fetchone()

    def empty_log(self) -> bool:
        """
        Empty the write-ahead log.

        Returns:
            Whether it is empty; not while another process reads.
        """
        with self.lock, self.border():
            self._check_open()
            # Nobody waits for a reader: next time will do.
            self._connection.execute("pragma busy_timeout = 0")
            try:
                is_busy, _, _ = self._connection.execute("pragma wal_checkpoint(truncate)").fetchone()
            finally:
                self._connection.execute(f"pragma busy_timeout = {int(_SCHEMA_LOCK_S * 1000)}")
        return not is_busy

    def _make_sure(self) -> None:
        """Write again what an fsync failed for, into the file itself, before anything is put behind it."""
        if not self.empty_log():
            raise StoreError(
                f"{self.path}: the disk answered with an error, and another process reads:"
                " stop it, and try again"
            )
        self._is_doubtful = False

    def _failed(self, error: sqlite3.Error) -> StoreError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_FSYNC:
            self._is_doubtful = True
        return store_error(self.path, error)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError(f"the store {self.path} is closed")

    @contextmanager
    def border(self) -> Iterator[None]:
        """Let no foreign exception out."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._failed(error) from error
        except OSError as error:
            raise StoreReadOnly(f"can't open {self.path}: {error.strerror}") from error


_BY_CODE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (
        StoreFull,
        "the disk is full; what was acknowledged is safe, make room and try again",
    ),
    # The shared memory beside the file could not grow.
    sqlite3.SQLITE_IOERR_SHMSIZE: (StoreFull, "the disk is full; make room and try again"),
    sqlite3.SQLITE_READONLY: (
        StoreReadOnly,
        "it can't be written; look at the file's and the folder's rights",
    ),
    sqlite3.SQLITE_CANTOPEN: (StoreReadOnly, "it can't be opened; look at the folder and its rights"),
    sqlite3.SQLITE_PERM: (StoreReadOnly, "it can't be opened; look at its rights"),
    sqlite3.SQLITE_NOTADB: (StoreCorrupt, "it is no SQLite database"),
    sqlite3.SQLITE_CORRUPT: (
        StoreCorrupt,
        "the file is damaged; Store.check() says what, and crdt_conv.recover() saves the rest in a new file",
    ),
    sqlite3.SQLITE_IOERR: (StoreError, "the disk answered with an error"),
    sqlite3.SQLITE_BUSY: (StoreError, "another program holds the file; close it and try again"),
}


def store_error(path: str | Path, error: sqlite3.Error) -> StoreError:
    """Return what ``error`` is to those who know no SQLite."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None and "decode to UTF-8" in str(error):
        # Python's own, and its text quotes what is in the column.
        code = sqlite3.SQLITE_CORRUPT
    if "no such table" in str(error):
        # Only one that was thrown away: all others are made with the file.
        return StoreCorrupt(f"{path}: the stored index was thrown away: opened for writing, it is made anew")
    # The low byte is the primary code, the rest mostly says more of the same.
    kind, text = _BY_CODE.get(code or 0) or _BY_CODE.get((code or 0) & 0xFF, (StoreError, str(error)))
    return kind(f"{path}: {text}")
