"""
Stored indexes and full-text search, in the tables of the same file.

One row a message holds what the graph knows of it; contents stand in *pages*:
compressed JSON, ``{place: body}``, as many in one as were written together. A
message that changes goes to a new page, and the old page keeps a dead copy until
``repack``, which compaction calls. The search index has no copy of the text.
Everything here is derived and may be thrown away; what has not its checksum is
``StoreCorrupt``, and never shown.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from crdt_conv.engine import Found, IndexChange, StoredIndex, Tail
from crdt_conv.errors import IndexLost
from crdt_conv.ids import ConversationId
from crdt_conv.messages.bodies import searchable
from crdt_conv.messages.message import Message
from crdt_conv.store.sqlite.connection import Connection
from crdt_conv.store.sqlite.renewal import throw_away
from crdt_conv.store.sqlite.rows import (
    ALL,
    ON_PAGES,
    PAGE,
    SOME,
    Execute,
    Place,
    batches,
    check,
    messages_of,
    node_of,
    readable,
    row_of,
    total_of,
    write_page,
)
from crdt_conv.store.sqlite.search import highlighted, match_expression

MAX_SEQ: Final = 2**63 - 1
LAST_SEQ: Final = (
    "select max((select coalesce(max(seq), 0) from updates where conversation = ?),"
    " (select coalesce(max(seq), 0) from snapshots where conversation = ?))"
)
_CURRENT: Final = (
    "select key, conversation, seq, roots, quarantined, tails, total, crc from indexes"
    " where conversation = ?1 and seq ="
    " max((select coalesce(max(seq), 0) from updates where conversation = ?1 and seq < ?2),"
    " (select coalesce(max(seq), 0) from snapshots where conversation = ?1))"
)
_ANY: Final = (
    "select key, conversation, seq, roots, quarantined, tails, total, crc from indexes where conversation = ?"
)


class _Head(NamedTuple):
    """The row of a conversation's index."""

    key: int
    conversation: str
    seq: int
    roots: str
    quarantined: str
    tails: str
    total: int
    crc: int

    @property
    def is_whole(self) -> bool:
        """Whether it is as it was written."""
        return self.crc == zlib.crc32(repr(self[1:7]).encode("utf-8", "backslashreplace"))

    def sealed(self) -> _Head:
        """Return it with the right checksum."""
        return self._replace(crc=zlib.crc32(repr(self[1:7]).encode("utf-8", "backslashreplace")))


class SqliteIndex:
    """The indexes of all conversations of one file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Loading

    def load(self, conversation: ConversationId, *, before: int | None = None) -> StoredIndex | None:
        """Return the index, if there is one and it is as new as the log; see ``IndexStore``."""
        with readable(), self._connection.reading() as execute:
            head = _current(execute, conversation, before)
            if head is None:
                return None
            rows = execute(ALL, (head.key,)).fetchall()
            check(is_whole=total_of(rows) == head.total)
            nodes, contents = [node_of(row) for row in rows], [row[10] for row in rows]
            roots, quarantined = json.loads(head.roots), json.loads(head.quarantined)
            return StoredIndex(head.seq, nodes, contents, roots, quarantined)

    def tail(self, conversation: ConversationId, branch: str) -> tuple[Tail, dict[Place, Message]] | None:
        """Return the end of a branch and its messages, where the index is as new as the log and has it."""
        with readable(), self._connection.reading() as execute:
            head = _current(execute, conversation)
            stored = json.loads(head.tails).get(branch) if head is not None else None
            if head is None or stored is None:
                return None
            heads, last, digest, length, total = stored
            tail = Tail(tuple(heads), tuple(last), digest, length)
            rows = _tail_rows(execute, head.key, tail)
            check(is_whole=total_of(rows) == total)
            return tail, messages_of(execute, head.key, rows)

    def messages(self, conversation: ConversationId, places: Sequence[int]) -> list[Message]:
        """Return the messages in some places, in their order."""
        with readable(), self._connection.reading() as execute:
            key = _key(execute, conversation)
            if not key:
                raise IndexLost(f"there is no stored index of {conversation}")
            rows = execute(SOME, (key, json.dumps(places))).fetchall()
            messages = messages_of(execute, key, rows)
            return [messages[place] for place in places]

    # Writing

    def write(self, conversation: ConversationId, change: IndexChange) -> None:
        """Keep what changed, and make it findable."""
        with self._connection.deriving() as execute:
            if execute("select 1 from deleted where conversation = ?", (conversation,)).fetchone():
                return
            head = self._head_for(execute, conversation, change)
            rows = execute(SOME, (head.key, json.dumps(change.places))).fetchall()
            old = messages_of(execute, head.key, rows)
            new = list(map(row_of, change.places, change.messages, change.contents))
            for batch in batches(zip(new, change.messages, strict=True), PAGE):
                write_page(execute, head.key, batch)
            total = head.total - total_of(rows) + total_of(new)
            _write_head(execute, head._replace(total=total), change)
            _find_no_more(execute, head.key, old)
            let_go(execute, change.dropped | _dropped_blobs(old, change))
            for place, message in zip(change.places, change.messages, strict=True):
                text = searchable(message)
                if text:
                    execute("insert into found (rowid, text) values (?, ?)", (_row_id(head.key, place), text))

    @staticmethod
    def _head_for(execute: Execute, conversation: ConversationId, change: IndexChange) -> _Head:
        """Return the row of the index that a change goes on from; of a whole one, all that was is removed."""
        head = _head(execute(_ANY, (conversation,)).fetchone())
        if head is None:
            if not change.is_whole:
                raise IndexLost(f"there is no stored index of {conversation} to go on from")
            new = (conversation, 0, "", "", "", 0, 0)
            key = execute("insert into indexes values (null, ?, ?, ?, ?, ?, ?, ?)", new).lastrowid
            check(is_whole=not execute("select 1 from messages where key = ?", (key,)).fetchone())
            return _Head(key, *new)
        if change.is_whole:
            let_go(execute, _remove(execute, head) - _blobs_of(change.messages))
            return head._replace(total=0)
        return head

    def forget(self, conversation: ConversationId, blobs: Iterable[str] = ()) -> None:
        """Forget a conversation, and let go of its blobs; part of a transaction that is under way."""
        with self._connection.writing() as execute:
            head = _head(execute(_ANY, (conversation,)).fetchone())
            referred = _remove(execute, head) if head is not None else set()
            execute("delete from indexes where conversation = ?", (conversation,))
            let_go(execute, referred.union(blobs))

    # Packing

    def repack(self, conversation: ConversationId) -> None:
        """Write pages anew that are small or hold what is dead; part of a transaction that is under way."""
        with self._connection.writing() as execute:
            known = execute("select key from indexes where conversation = ?", (conversation,)).fetchone()
            if known is None:
                return
            key = int(known[0])
            # A little of what optimizing would do to the whole search index.
            execute("insert into found (found, rank) values ('merge', -512)")
            loose = execute(
                "select pages.page from pages where pages.key = ? and pages.count < ? or pages.key = ? and"
                " pages.count > (select count(*) from messages"
                "  where messages.key = pages.key and messages.page = pages.page)",
                (key, PAGE // 2, key),
            ).fetchall()
            pages = {int(page) for (page,) in loose}
            rows = execute(ON_PAGES, (key, json.dumps(sorted(pages)))).fetchall()
            messages = messages_of(execute, key, rows)
            execute(
                "delete from pages where key = ? and page in (select value from json_each(?))",
                (key, json.dumps(sorted(pages))),
            )
            entries = ((row[:11], messages[row[0]]) for row in rows)
            for batch in batches(entries, PAGE):
                write_page(execute, key, batch)

    # What it knows of all conversations

    def behind(self) -> list[ConversationId]:
        """Return the conversations whose index is not as new as their log."""
        rows = self._connection.rows(
            "select id from conversations left join indexes on indexes.conversation = id"
            " where typeof(id) = 'text' and (seq is null or seq <>"
            " max((select coalesce(max(u.seq), 0) from updates u where u.conversation = id),"
            " (select coalesce(max(s.seq), 0) from snapshots s where s.conversation = id)))"
        )
        return [ConversationId(row[0]) for row in rows]

    def unsure(self) -> list[ConversationId]:
        """Return the conversations that may refer to blobs which ``blobs_in_use`` has not."""
        rows = self._connection.rows("select conversation from indexes where quarantined <> '{}'")
        return [*self.behind(), *(ConversationId(row[0]) for row in rows)]

    def blobs_in_use(self) -> set[str]:
        """Return every blob that an indexed message refers to."""
        rows = self._connection.rows("select blobs from messages where blobs <> ''")
        return {blob for (blobs,) in rows for blob in json.loads(blobs)}

    def clear(self) -> None:
        """Throw all of it away, however damaged it is; see ``IndexStore``."""
        throw_away(self._connection)

    # Searching

    def search(
        self, words: str, *, limit: int, conversation: ConversationId | None, marks: tuple[str, str]
    ) -> list[Found]:
        """Return the messages that hold all words, best first."""
        expression = match_expression(self._connection.db, words)
        if not expression:
            return []
        with readable(), self._connection.reading() as execute:
            low, high = 0, 1 << 62
            if conversation is not None:
                key = _key(execute, conversation)
                low, high = _row_id(key, 0), _row_id(key + 1, 0)
            found = execute(
                "select rowid, rank from found where found match ? and rowid >= ? and rowid < ?"
                " order by rank limit ?",
                (expression, low, high, limit),
            ).fetchall()
            messages = [(rank, *self._message_at(execute, row_id)) for row_id, rank in found]
        snippets = highlighted(expression, [searchable(message) for _, _, message in messages], marks)
        return [
            Found(name, message.id, rank, snippet)
            for (rank, name, message), snippet in zip(messages, snippets, strict=True)
        ]

    @staticmethod
    def _message_at(execute: Execute, row_id: int) -> tuple[ConversationId, Message]:
        key, place = row_id >> 32, row_id & 0xFFFFFFFF
        name = execute("select conversation from indexes where key = ?", (key,)).fetchone()[0]
        rows = execute(SOME, (key, json.dumps([place]))).fetchall()
        return ConversationId(name), messages_of(execute, key, rows)[place]


def _head(row: Sequence[Any] | None) -> _Head | None:
    if row is None:
        return None
    head = _Head(*row)
    check(is_whole=head.is_whole)
    return head


def _current(execute: Execute, conversation: ConversationId, before: int | None = None) -> _Head | None:
    """Return the head of an index that is as new as the log, or as the log before an update."""
    end = MAX_SEQ if before is None else before
    head = _head(execute(_CURRENT, (conversation, end)).fetchone())
    return head if head is None or head.seq < end else None


def _key(execute: Execute, conversation: ConversationId) -> int:
    row = execute("select key from indexes where conversation = ?", (conversation,)).fetchone()
    return int(row[0]) if row else 0


def _row_id(key: int, place: Place) -> int:
    return key << 32 | place


def _tail_rows(execute: Execute, key: int, tail: Tail) -> list[Sequence[Any]]:
    places = json.dumps(sorted({*tail.heads, *tail.last}))
    rows: list[Sequence[Any]] = execute(SOME, (key, places)).fetchall()
    return rows


def _write_head(execute: Execute, head: _Head, change: IndexChange) -> None:
    """Write the row of an index, behind the rows of its messages."""
    totals = {name: total_of(_tail_rows(execute, head.key, tail)) for name, tail in change.tails.items()}
    tails = {name: [t.heads, t.last, t.digest, t.length, totals[name]] for name, t in change.tails.items()}
    sealed = head._replace(
        seq=change.seq,
        roots=json.dumps(dict(change.roots)),
        quarantined=json.dumps(dict(change.quarantined)),
        tails=json.dumps(tails),
    ).sealed()
    execute("insert or replace into indexes values (?, ?, ?, ?, ?, ?, ?, ?)", sealed)


def _remove(execute: Execute, head: _Head) -> set[str]:
    """Remove all messages of an index; returns the blobs that they referred to."""
    rows = execute(ALL, (head.key,)).fetchall()
    # The search index is told what to forget by what stands here.
    check(is_whole=total_of(rows) == head.total)
    old = messages_of(execute, head.key, rows)
    _find_no_more(execute, head.key, old)
    execute("delete from messages where key = ?", (head.key,))
    execute("delete from pages where key = ?", (head.key,))
    return _blobs_of(old.values())


def _blobs_of(messages: Iterable[Message]) -> set[str]:
    return {blob for message in messages for blob in message.blobs}


def _find_no_more(execute: Execute, key: int, old: dict[Place, Message]) -> None:
    # The search index keeps no text of its own, and has to be told what it is to forget.
    for place, message in old.items():
        text = searchable(message)
        if text:
            values = (_row_id(key, place), text)
            execute("insert into found (found, rowid, text) values ('delete', ?, ?)", values)


def _dropped_blobs(old: dict[Place, Message], change: IndexChange) -> set[str]:
    """Return the blobs that were referred to and are not any more."""
    now = {place: set(message.blobs) for place, message in zip(change.places, change.messages, strict=True)}
    return {blob for place, message in old.items() for blob in set(message.blobs) - now.get(place, set())}


def let_go(execute: Execute, blobs: Iterable[str]) -> None:
    """Mark blobs that nobody is about to refer to, so that the next collection takes them."""
    wanted = json.dumps(sorted(blobs))
    if wanted != "[]":
        execute("update blobs set added = 0 where sha256 in (select value from json_each(?))", (wanted,))
