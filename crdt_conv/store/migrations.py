"""
The tables of a store, as migrations that each run in one transaction with their record.

A released migration is never changed; a new one is added behind it.

==============  ===========================================================================
``updates``     the log: raw bytes as received, by sequence number; ``origin`` is the peer
                they came from, null for what was written here
``conversations``  one row a conversation: what the list shows
``leases``      who may fulfil a run, with an epoch that only grows
``outbox``      for each peer and conversation: up to which ``seq`` it has everything
``settings``    this store's own: the device id
==============  ===========================================================================
"""

from __future__ import annotations

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
