"""A store as it is at one moment, while writes go on: seen so by the check, and copied so into a new file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from crdt_conv.errors import StoreCorrupt
from crdt_conv.store.damage import Progress
from crdt_conv.store.draft import draft_of
from crdt_conv.store.sqlite.connection import store_error
from crdt_conv.store.sqlite.engine import SqliteEngine

STEP: Final = 256
"""So many pages are copied before anybody is told, and before Ctrl-C is heard."""


@contextmanager
def moment(engine: SqliteEngine) -> Iterator[SqliteEngine]:
    """Yield an engine that goes on seeing the store as it is now, and holds nobody up."""
    engine.connection.rows("select 1")  # One that is closed says so.
    if engine.connection.is_memory:
        with engine.connection.reading():
            yield engine
        return
    own = SqliteEngine(engine.path, read_only=True)
    try:
        own.connection.run("begin")
        # Not begun before something is read.
        own.connection.run("select count(*) from sqlite_schema")
        yield own
    finally:
        own.close()


def backup(engine: SqliteEngine, target: Path, progress: Progress | None = None) -> None:
    """
    Copy a store as it is now, while writes go on.

    Raises:
        StoreError: ``target`` is there already, or can't be written, or the store can't be read.
    """
    with draft_of(target, Path(engine.path)) as draft, moment(engine) as now:
        try:
            _copy(now.connection.db.conn, draft, progress)
        except sqlite3.Error as error:
            told = store_error(target, error)
            # Only the store can be damaged; whatever else is in the way is so at the copy.
            raise (store_error(engine.path, error) if isinstance(told, StoreCorrupt) else told) from error


def _copy(source: sqlite3.Connection, draft: Path, progress: Progress | None) -> None:
    def tell(_status: int, remaining: int, total: int) -> None:
        # Called also where nobody asked: here Python hears of Ctrl-C.
        if progress is not None:
            progress(total - remaining, total)

    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        # Whole or not there at all: it needs no journal, and is flushed to disk once, at the end.
        copy.execute("pragma journal_mode = off")
        copy.execute("pragma synchronous = off")
        source.backup(copy, pages=STEP, progress=tell)
