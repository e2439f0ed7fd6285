"""
The tables of a store, as migrations that each run in one transaction with their record.

A released migration is never changed; a new one is added behind it.

==============  ===========================================================================
``updates``     the log: raw bytes as received, by sequence number; ``origin`` is the peer
                they came from, null for what was written here; ``crc`` is theirs
``snapshots``   one update a conversation, compressed, in the place of the log up to ``seq``,
                which had ``count`` updates
``conversations``  one row a conversation: what the list shows
``blobs``       bytes by their SHA-256
``leases``      who may fulfil a run, with an epoch that only grows
``outbox``      for each peer and conversation: up to which ``seq`` it has everything, and how
                many of the updates that a snapshot ``replaced`` it had not
``settings``    this store's own: the device id
``deleted``     tombstones: which conversations were deleted, and when (ms)
==============  ===========================================================================

Derived, to be emptied at any time: ``indexes`` (one row a conversation),
``messages`` (one row a message, without content), ``pages`` (contents, compressed,
many in one) and ``found`` (full-text search). ``INDEX`` makes them, also where they
were thrown away; a change of them is a new ``INDEX`` and a migration that drops the old.
"""

from __future__ import annotations

import zlib
from typing import Final

from sqlite_utils import Database, Migrations

migrations = Migrations("crdt_conv")


@migrations()
def m001_log(db: Database) -> None:
    """The first tables."""
    for statement in (
        """create table updates (
            seq integer primary key autoincrement,
            conversation text not null, origin text, data blob not null
        )""",
        "create index updates_by_conversation on updates (conversation, seq)",
        """create table conversations (
            id text primary key, title text not null default '',
            created integer not null, updated integer not null
        ) without rowid""",
        """create table leases (
            name text primary key, owner text not null, epoch integer not null, expires integer not null
        ) without rowid""",
        """create table outbox (
            peer text not null, conversation text not null, seq integer not null,
            primary key (peer, conversation)
        ) without rowid""",
        "create table settings (key text primary key, value text not null) without rowid",
    ):
        db.execute(statement)


def _crc32(data: bytes) -> int:
    return zlib.crc32(data)


@migrations()
def m002_core(db: Database) -> None:
    """Checksums, snapshots, blobs, and the stored index with its full-text search."""
    db.execute("alter table updates add column crc integer not null default 0")
    # In SQLite, update by update: a log may be larger than memory.
    db.register_function(_crc32)
    db.execute("update updates set crc = _crc32(data)")
    db.execute("alter table conversations add column forked_from text")
    for statement in (
        """create table snapshots (
            conversation text primary key, seq integer not null, count integer not null,
            size integer not null, crc integer not null, data blob not null
        )""",
        "alter table outbox add column replaced integer not null default 0",
        "create table blobs (sha256 text primary key, added integer not null, data blob not null)",
        """create table indexes (
            key integer primary key, conversation text not null unique, seq integer not null,
            roots text not null, quarantined text not null, tails text not null
        )""",
        """create table messages (
            key integer not null, place integer not null, id text not null, role text not null,
            parents text not null, branch text not null, created integer not null, status text not null,
            hidden integer not null, blobs text not null, content blob not null, page integer not null,
            primary key (key, place)
        ) without rowid""",
        "create index messages_with_blobs on messages (key) where blobs <> ''",
        """create table pages (
            key integer not null, page integer not null, count integer not null, data blob not null,
            primary key (key, page)
        )""",
        """create virtual table found using fts5 (
            text, content = '', tokenize = 'unicode61 remove_diacritics 2'
        )""",
    ):
        db.execute(statement)


@migrations(transactional=False)
def m003_shrink(db: Database) -> None:
    """Let the file give back what compaction frees; a store from before is written anew once."""
    if db.execute("pragma auto_vacuum").fetchone()[0] == 0:
        db.execute("pragma auto_vacuum = incremental")
        db.execute("vacuum")


@migrations()
def m004_deleted(db: Database) -> None:
    """Tombstones of conversations."""
    db.execute("create table deleted (conversation text primary key, at integer not null) without rowid")


INDEX: Final = (
    # ``total`` sums up the checksums of all rows in ``messages``; ``crc`` is this row's.
    """create table indexes (
        key integer primary key, conversation text not null unique, seq integer not null,
        roots text not null, quarantined text not null, tails text not null,
        total integer not null, crc integer not null
    )""",
    """create table messages (
        key integer not null, place integer not null, id text not null, role text not null,
        parents text not null, branch text not null, created integer not null, status text not null,
        hidden integer not null, blobs text not null, source text not null, content blob not null,
        page integer not null, primary key (key, place)
    ) without rowid""",
    "create index messages_with_blobs on messages (key) where blobs <> ''",
    """create table pages (
        key integer not null, page integer not null, count integer not null, data blob not null,
        primary key (key, page)
    ) without rowid""",
    """create virtual table found using fts5 (
        text, content = '', tokenize = 'unicode61 remove_diacritics 2'
    )""",
)


@migrations()
def m005_checked_index(db: Database) -> None:
    """Checksums in the stored index, and what a message was copied from; it is made anew from the log."""
    gone = ("drop table indexes", "drop table messages", "drop table pages", "drop table found")
    for statement in (*gone, *INDEX):
        db.execute(statement)


@migrations()
def m006_archived(db: Database) -> None:
    """What the list shows of who was put away, as far as stored indexes say it; the rest when next opened."""
    db.execute("alter table conversations add column archived integer not null default 0")
    # Derived: it may be damaged, or not there at all.
    if not db.execute("select 1 from sqlite_schema where name = 'indexes'").fetchone():
        return
    db.execute(
        "update conversations set archived = 1 where id in (select conversation from indexes"
        " where case when json_valid(roots) then json_type(roots, '$.meta.archived') end = 'true')"
    )
