"""
Stored indexes and full-text search, in the tables of the same file.

One row a message holds what the graph knows of it; contents stand in *pages*:
compressed JSON, ``{place: body}``, as many in one as were written together. A
message that changes goes to a new page, and the old page keeps a dead copy until
``repack``, which compaction calls. The search index has no copy of the text.
Everything here is derived and may be emptied.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

from crdt_conv.bodies import body_of, message_of, searchable
from crdt_conv.engine import Found, IndexChange, StoredIndex, Tail
from crdt_conv.errors import StoreCorrupt
from crdt_conv.fields import Json
from crdt_conv.ids import ConversationId, MessageId
from crdt_conv.message import Message
from crdt_conv.node import Node
from crdt_conv.store.sqlite.connection import Connection
from crdt_conv.store.sqlite.search import highlighted, match_expression

Execute = Callable[..., Any]
Place = int
Bodies = dict[str, Json]
T = TypeVar("T")

PAGE: Final = 256
"""How many messages a page holds once it is packed."""
MAX_SEQ: Final = 2**63 - 1
LAST_SEQ: Final = (
    "select max((select coalesce(max(seq), 0) from updates where conversation = ?),"
    " (select coalesce(max(seq), 0) from snapshots where conversation = ?))"
)
# Whole statements, and no pieces put together: the columns in the order of _node.
_CURRENT: Final = (
    "select key, roots, quarantined, tails, seq from indexes where conversation = ?1 and seq ="
    " max((select coalesce(max(seq), 0) from updates where conversation = ?1 and seq < ?2),"
    " (select coalesce(max(seq), 0) from snapshots where conversation = ?1))"
)
_ALL: Final = (
    "select place, id, role, parents, branch, created, status, hidden, blobs, content, page"
    " from messages where key = ? order by place"
)
_SOME: Final = (
    "select place, id, role, parents, branch, created, status, hidden, blobs, content, page"
    " from messages where key = ? and place in (select value from json_each(?)) order by place"
)
_ON_PAGES: Final = (
    "select place, id, role, parents, branch, created, status, hidden, blobs, content, page"
    " from messages where key = ? and page in (select value from json_each(?)) order by place"
)
_INSERT: Final = (
    "insert or replace into messages"
    " (key, place, id, role, parents, branch, created, status, hidden, blobs, content, page)"
    " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class SqliteIndex:
    """The indexes of all conversations of one file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Loading

    def load(self, conversation: ConversationId, *, before: int | None = None) -> StoredIndex | None:
        """Return the index, if there is one and it is as new as the log; see ``IndexStore``."""
        with _readable(), self._connection.reading() as execute:
            head = _current(execute, conversation, before)
            if head is None:
                return None
            key, roots, quarantined, _, seq = head
            rows = execute(_ALL, (key,)).fetchall()
            nodes, contents = [_node(row) for row in rows], [row[9] for row in rows]
            return StoredIndex(seq, nodes, contents, json.loads(roots), json.loads(quarantined))

    def tail(self, conversation: ConversationId, branch: str) -> tuple[Tail, dict[Place, Message]] | None:
        """Return the end of a branch and its messages, where the index is as new as the log and has it."""
        with _readable(), self._connection.reading() as execute:
            head = _current(execute, conversation)
            stored = json.loads(head[3]).get(branch) if head is not None else None
            if head is None or stored is None:
                return None
            tail = Tail(tuple(stored[0]), tuple(stored[1]), stored[2], stored[3])
            places = json.dumps(sorted({*tail.heads, *tail.last}))
            return tail, _messages(execute, head[0], execute(_SOME, (head[0], places)).fetchall())

    def messages(self, conversation: ConversationId, places: Sequence[int]) -> list[Message]:
        """Return the messages in some places, in their order."""
        with _readable(), self._connection.reading() as execute:
            key = _key(execute, conversation)
            rows = execute(_SOME, (key, json.dumps(places))).fetchall()
            messages = _messages(execute, key, rows)
            return [messages[place] for place in places]

    # Writing

    def write(self, conversation: ConversationId, change: IndexChange) -> None:
        """Keep what changed, and make it findable."""
        with self._connection.writing() as execute:
            if execute("select 1 from deleted where conversation = ?", (conversation,)).fetchone():
                return
            key = self._key_for(execute, conversation, change)
            old = self._replaced(execute, key, change)
            entries = zip(change.places, change.messages, change.contents, strict=True)
            for batch in _batches(entries, PAGE):
                _write_page(execute, key, batch)
            _find_no_more(execute, key, old)
            _let_go(execute, change.dropped | _dropped_blobs(old, change))
            for place, message in zip(change.places, change.messages, strict=True):
                text = searchable(message)
                if text:
                    execute("insert into found (rowid, text) values (?, ?)", (_row_id(key, place), text))

    @staticmethod
    def _key_for(execute: Execute, conversation: ConversationId, change: IndexChange) -> int:
        roots, quarantined = json.dumps(dict(change.roots)), json.dumps(dict(change.quarantined))
        tails = {name: [t.heads, t.last, t.digest, t.length] for name, t in change.tails.items()}
        row = execute(
            "insert into indexes (conversation, seq, roots, quarantined, tails) values (?, ?, ?, ?, ?)"
            " on conflict (conversation) do update set seq = excluded.seq, roots = excluded.roots,"
            " quarantined = excluded.quarantined, tails = excluded.tails returning key",
            (conversation, change.seq, roots, quarantined, json.dumps(tails)),
        ).fetchone()
        return int(row[0])

    @staticmethod
    def _replaced(execute: Execute, key: int, change: IndexChange) -> dict[Place, Message]:
        """Return the stored messages that a change replaces; of a whole one, all, which are removed."""
        if not change.is_whole:
            return _messages(execute, key, execute(_SOME, (key, json.dumps(change.places))).fetchall())
        old = _messages(execute, key, execute(_ALL, (key,)).fetchall())
        execute("delete from messages where key = ?", (key,))
        execute("delete from pages where key = ?", (key,))
        return old

    def delete(self, conversation: ConversationId, blobs: Iterable[str]) -> None:
        """Forget a conversation, and let go of its blobs; call it inside a transaction."""
        with self._connection.writing() as execute:
            key = _key(execute, conversation)
            old = _messages(execute, key, execute(_ALL, (key,)).fetchall())
            _find_no_more(execute, key, old)
            execute("delete from messages where key = ?", (key,))
            execute("delete from pages where key = ?", (key,))
            execute("delete from indexes where key = ?", (key,))
            _let_go(execute, frozenset(blobs).union(*(message.blobs for message in old.values())))

    # Packing

    def repack(self, conversation: ConversationId) -> None:
        """Write pages anew that are small or hold what is dead; call it inside a transaction."""
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
            rows = execute(_ON_PAGES, (key, json.dumps(sorted(pages)))).fetchall()
            messages = _messages(execute, key, rows)
            execute(
                "delete from pages where key = ? and page in (select value from json_each(?))",
                (key, json.dumps(sorted(pages))),
            )
            entries = ((row[0], messages[row[0]], row[9]) for row in rows)
            for batch in _batches(entries, PAGE):
                _write_page(execute, key, batch)

    # What it knows of all conversations

    def behind(self) -> list[ConversationId]:
        """Return the conversations whose index is not as new as their log."""
        rows = self._connection.rows(
            "select id from conversations left join indexes on indexes.conversation = id where seq is null or"
            " seq <> max((select coalesce(max(u.seq), 0) from updates u where u.conversation = id),"
            " (select coalesce(max(s.seq), 0) from snapshots s where s.conversation = id))"
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
        """Empty all of it: it is made anew from the documents."""
        with self._connection.writing() as execute:
            execute("delete from indexes")
            execute("delete from messages")
            execute("delete from pages")
            execute("insert into found (found) values ('delete-all')")

    # Searching

    def search(
        self, words: str, *, limit: int, conversation: ConversationId | None, marks: tuple[str, str]
    ) -> list[Found]:
        """Return the messages that hold all words, best first."""
        expression = match_expression(self._connection.db, words)
        if not expression:
            return []
        with self._connection.reading() as execute:
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
        rows = execute(_SOME, (key, json.dumps([place]))).fetchall()
        return ConversationId(name), _messages(execute, key, rows)[place]


@contextmanager
def _readable() -> Iterator[None]:
    """Let a damaged index be an error of ours, which says what to do: it has no checksum, being derived."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, zlib.error) as error:
        raise StoreCorrupt(
            "the stored index is damaged: Store.clear_index() throws it away, and it is made anew"
        ) from error


def _current(
    execute: Execute, conversation: ConversationId, before: int | None = None
) -> tuple[int, str, str, str, int] | None:
    """Return the index's key, roots, quarantined and tails, and its ``seq``, if that is the log's last."""
    end = MAX_SEQ if before is None else before
    row: tuple[int, str, str, str, int] | None = execute(_CURRENT, (conversation, end)).fetchone()
    return row if row is None or row[4] < end else None


def _key(execute: Execute, conversation: ConversationId) -> int:
    row = execute("select key from indexes where conversation = ?", (conversation,)).fetchone()
    return int(row[0]) if row else 0


def _row_id(key: int, place: Place) -> int:
    return key << 32 | place


def _node(row: Sequence[Any]) -> Node:
    _, message_id, role, parents, branch, created, status, hidden, blobs, _, _ = row
    # One parent, as most have, stands there as it is; several as JSON.
    parents = () if not parents else (parents,) if parents[0] != "[" else tuple(json.loads(parents))
    blobs = tuple(json.loads(blobs)) if blobs else ()
    return Node(message_id, role, parents, branch, created, status, hidden, blobs)


def _parents_text(parents: tuple[MessageId, ...]) -> str:
    is_plain = len(parents) == 1 and parents[0][:1] not in ("", "[")
    return "" if not parents else parents[0] if is_plain else json.dumps(parents)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _write_page(execute: Execute, key: int, batch: Sequence[tuple[Place, Message, bytes]]) -> None:
    page = execute("select coalesce(max(page), 0) + 1 from pages where key = ?", (key,)).fetchone()[0]
    bodies = {str(place): body_of(message) for place, message, _ in batch}
    data = zlib.compress(json.dumps(bodies, ensure_ascii=False, separators=(",", ":")).encode())
    execute("insert into pages values (?, ?, ?, ?)", (key, page, len(batch), data))
    for place, message, content in batch:
        blobs = json.dumps(message.blobs) if message.blobs else ""
        execute(
            _INSERT,
            (
                *(key, place, message.id, message.role, _parents_text(message.parents), message.branch),
                *(message.created, message.status, message.hidden_count, blobs, content, page),
            ),
        )


def _messages(execute: Execute, key: int, rows: Sequence[Sequence[Any]]) -> dict[Place, Message]:
    """Return the messages of some rows with their content."""
    with _readable():
        bodies = _read_pages(execute, key, {row[-1] for row in rows})
        return {row[0]: message_of(_node(row), bodies[row[-1]][str(row[0])]) for row in rows}


def _read_pages(execute: Execute, key: int, pages: set[int]) -> dict[int, Bodies]:
    rows = execute(
        "select page, data from pages where key = ? and page in (select value from json_each(?))",
        (key, json.dumps(sorted(pages))),
    )
    return {page: json.loads(zlib.decompress(data)) for page, data in rows.fetchall()}


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


def _let_go(execute: Execute, blobs: frozenset[str]) -> None:
    """Mark blobs that nobody is about to refer to, so that the next collection takes them."""
    if blobs:
        wanted = json.dumps(sorted(blobs))
        execute("update blobs set added = 0 where sha256 in (select value from json_each(?))", (wanted,))
