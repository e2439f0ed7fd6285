"""A store as the first version made it: its tables are written out here, since they never change."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

from sqlite_utils import Database, Migrations

from crdt_conv import Conversation, Store
from tests.faults.states import State, state_of

_TABLES = """
create table updates (
    seq integer primary key autoincrement, conversation text not null, origin text, data blob not null
);
create index updates_by_conversation on updates (conversation, seq);
create table conversations (
    id text primary key, title text not null default '', created integer not null, updated integer not null
) without rowid;
create table leases (
    name text primary key, owner text not null, epoch integer not null, expires integer not null
) without rowid;
create table outbox (
    peer text not null, conversation text not null, seq integer not null, primary key (peer, conversation)
) without rowid;
create table settings (key text primary key, value text not null) without rowid;
"""


def make_old_store(path: Path, seed: int) -> dict[str, State]:
    """Make a store of the first version; returns what each of its conversations says."""
    random = Random(f"old store {seed}")
    states: dict[str, State] = {}
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
        _migrations().apply(Database(connection))
        for name in ("old1", "old2", "old3"):
            conversation = Store(":memory:").create(f"{name} of {seed}", conversation_id=name)
            _insert(connection, conversation, conversation.encode())
            for number in range(random.randrange(12)):
                before = conversation.state_vector
                conversation.append("user", f"{number} " + "x" * random.randrange(5_000))
                _insert(connection, conversation, conversation.encode(before))
            states[name] = state_of(conversation)
        connection.commit()
    return states


def _migrations() -> Migrations:
    migrations = Migrations("crdt_conv")

    @migrations()
    def m001_log(db: Database) -> None:
        for statement in _TABLES.split(";"):
            db.execute(statement)

    return migrations


def _insert(connection: sqlite3.Connection, conversation: Conversation, update: bytes) -> None:
    connection.execute("insert into updates (conversation, data) values (?, ?)", (conversation.id, update))
    connection.execute(
        "insert or replace into conversations values (?, ?, 1, 1)", (conversation.id, conversation.title)
    )
