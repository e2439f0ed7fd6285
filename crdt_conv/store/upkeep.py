"""
The check of a store: every byte of its file, and that what is derived says what the log says.

Each conversation is read from its log once more; its stored index, full-text search
and its title in the list must say the same. All is seen as it was at one moment, and
no writer is held up. What a damaged file still has is saved by ``sqlite.upkeep``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import stat
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from crdt_conv.bodies import body_of, searchable
from crdt_conv.conversation import Conversation
from crdt_conv.conversation.reading import TAIL
from crdt_conv.digest import content_digest
from crdt_conv.engine import ConversationInfo, Engine, IndexStore, Row, StoredIndex
from crdt_conv.errors import (
    MalformedEntry,
    MalformedUpdate,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
)
from crdt_conv.ids import ConversationId, MessageId, new_id, now_ms
from crdt_conv.message import Author, Message, parse_message
from crdt_conv.store.keeper import Keeper
from crdt_conv.store.memory import MemoryEngine
from crdt_conv.store.sqlite.connection import _store_error
from crdt_conv.store.sqlite.engine import SqliteEngine
from crdt_conv.store.sqlite.index import PAGE, Execute
from crdt_conv.updates import check_update

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how much is done, of how much."""

UNREADABLE: Final = (StoreError, ValueError, LookupError, TypeError, AttributeError, zlib.error)
"""What reading a damaged index ends with: it is not checked while it is read."""

_WORDS: Final = "create virtual table if not exists temp.words using fts5vocab (main, found, instance)"
STEP: Final = 256
"""So many pages are copied before anybody is told, and before Ctrl-C is heard."""
_BESIDE: Final = ("", "-journal", "-wal", "-shm", ".lock", ".owner")
"""What stands beside a store's file, by the end of its name."""

_BY_ERRNO: Final[Mapping[int, type[StoreError]]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), StoreFull),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), StoreReadOnly),
}


@dataclass(frozen=True, slots=True)
class Damage:
    """
    One thing that is damaged, or not there.

    ``what`` is ``update``, ``snapshot`` or ``blob`` (canonical; the rest is saved by
    ``recover``), ``file`` (pages of it, also by ``recover``), ``list`` (the next new
    title mends it), or ``index`` (derived: ``Store.clear_index`` and ``reindex`` make
    it anew). ``key`` is a sequence number, a SHA-256, a message's id, or empty.
    """

    what: str
    conversation: str | None
    key: str
    text: str


def is_whole(crc: object, data: object) -> bool:
    """Whether bytes have a CRC."""
    return isinstance(data, bytes) and zlib.crc32(data) == crc


def is_named(sha256: object, data: object) -> bool:
    """Whether bytes have a SHA-256, in hexadecimal digits."""
    return isinstance(data, bytes) and hashlib.sha256(data).hexdigest() == sha256


def update_damage(conversation: str, seq: int, update: bytes) -> Iterator[Damage]:
    """Say whether an update can't be decoded."""
    try:
        check_update(update)
    except MalformedUpdate:
        yield Damage("update", conversation, str(seq), f"the update {seq} is no update")


def check_conversation(
    engine: Engine, conversation: ConversationId, listed: ConversationInfo | None
) -> Iterator[Damage]:
    """
    Yield what is wrong with one conversation, which is ``listed`` so.

    Raises:
        StoreError: The engine is closed, say; a damaged log is not raised but told.
    """
    try:
        rows = engine.read(conversation)
    except StoreError as error:
        yield Damage("update", conversation, "", str(error))
        return
    for seq, update in rows:
        yield from update_damage(conversation, seq, update)
    fresh = _Fresh(conversation, rows)
    yield from _missing_blobs(engine, fresh)
    yield from _list_damage(listed, fresh)
    if engine.index is not None:
        yield from _index_damage(engine.index, fresh)


class _Fresh:
    """A conversation as its log alone says it."""

    def __init__(self, conversation: ConversationId, rows: Sequence[tuple[int, bytes]]) -> None:
        log = MemoryEngine()
        log.append([Row(conversation, update) for _, update in rows], at_ms=0)
        self.id = conversation
        self.whole = Conversation(conversation, Keeper(log, "", read_only=True), Author("human"))
        # Parsed here and not taken from its index: the graph keeps nodes only.
        self.messages: dict[MessageId, Message] = {}
        for key, raw in self.whole.document.read("messages").items():
            with suppress(MalformedEntry):
                self.messages[key] = parse_message(key, raw)


def _missing_blobs(engine: Engine, fresh: _Fresh) -> Iterator[Damage]:
    for message in fresh.messages.values():
        for blob in message.blobs:
            if not engine.has_blob(blob):
                text = f"the message {message.id} refers to the blob {blob:.64}, which is not here"
                yield Damage("blob", fresh.id, blob, text)


def _list_damage(listed: ConversationInfo | None, fresh: _Fresh) -> Iterator[Damage]:
    if listed is None:
        yield Damage("list", fresh.id, "", "it is in the log and not in the list of conversations")
    elif (listed.title, listed.forked_from) != (fresh.whole.title, fresh.whole.forked_from):
        yield Damage("list", fresh.id, "", "the list shows another title or origin than its document says")


def described(conversation: ConversationId, rows: Sequence[tuple[int, bytes]]) -> ConversationInfo:
    """Return what the list shows of a conversation, as far as its log says it."""
    fresh = _Fresh(conversation, rows)
    times = [message.created for message in fresh.messages.values()] or [now_ms()]
    return ConversationInfo(conversation, fresh.whole.title, min(times), max(times), fresh.whole.forked_from)


# The stored index


def _index_damage(store: IndexStore, fresh: _Fresh) -> list[Damage]:
    wrong: list[tuple[str, str]] = []
    try:
        wrong.extend(_differences(store, fresh))
    except UNREADABLE as error:
        wrong.append(("", f"it can't be read ({type(error).__name__})"))
    return [Damage("index", fresh.id, key, f"its stored index: {text}") for key, text in wrong]


def _differences(store: IndexStore, fresh: _Fresh) -> Iterator[tuple[str, str]]:
    """Yield a key and what of the stored index is not as the document says, where it is as new as the log."""
    stored = store.load(fresh.id)
    if stored is None:
        return
    index = fresh.whole.index
    for name, mine, theirs in (
        ("roots", dict(stored.roots), index.roots),
        ("quarantined", dict(stored.quarantined), index.quarantined),
    ):
        if mine != json.loads(json.dumps(theirs)):
            yield name, f"its {name} are not the document's"
    yield from _wrong_messages(store, fresh, stored)
    yield from _wrong_tails(store, fresh)


def _wrong_messages(store: IndexStore, fresh: _Fresh, stored: StoredIndex) -> Iterator[tuple[str, str]]:
    unseen = dict(fresh.messages)
    for first in range(0, len(stored.nodes), PAGE):
        contents = stored.contents[first : first + PAGE]
        messages = store.messages(fresh.id, list(range(first, first + len(contents))))
        for message, content in zip(messages, contents, strict=True):
            true = unseen.pop(message.id, None)
            if true is None or (message.node, content) != (true.node, content_digest(true)):
                yield message.id, f"it has the message {message.id:.64} otherwise than the document"
            elif body_of(message) != body_of(true):
                yield message.id, f"it has the content of {message.id:.64} otherwise than the document"
    yield from ((message_id, f"it lacks the message {message_id:.64}") for message_id in unseen)


def _wrong_tails(store: IndexStore, fresh: _Fresh) -> Iterator[tuple[str, str]]:
    for branch in fresh.whole.branches:
        found = store.tail(fresh.id, branch)
        if found is None:
            continue
        tail, messages = found
        log = fresh.whole.log(branch, last=TAIL)
        shown = _ids(messages[place] for place in tail.last), _ids(messages[place] for place in tail.heads)
        expected = _ids(log.messages), _ids(log.heads)
        if (*shown, tail.digest, tail.length) != (*expected, log.digest.hex(), log.length):
            yield branch, f"the branch {branch!r:.64} ends otherwise than in the document"


def _ids(messages: Iterable[Message]) -> list[MessageId]:
    return [message.id for message in messages]


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


# The check


def check(engine: Engine, progress: Progress | None = None) -> list[Damage]:
    """
    Read every byte of a store as it is now, while writes go on, and return what is wrong.

    Raises:
        StoreError: The store is closed, or its disk does not answer.
    """
    if not isinstance(engine, SqliteEngine):
        # As far as the seam lets one see.
        return _told([partial(check_conversation, engine, i.id, i) for i in engine.conversations()], progress)
    try:
        with moment(engine) as now:
            return _Check(now).run(progress)
    except StoreCorrupt as error:
        return [Damage("file", None, "", str(error))]


def _told(steps: Sequence[Callable[[], Iterable[Damage]]], progress: Progress | None) -> list[Damage]:
    found: list[Damage] = []
    for done, step in enumerate(steps):
        if progress is not None:
            progress(done, len(steps))
        found.extend(step())
    return found


class _Check:
    """One check, inside one read transaction."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine
        self._rows = engine.connection.rows
        # Now: once SQLite has met a damaged page, it makes no table any more.
        self._read(_WORDS)
        # By table and by index, since either may be damaged.
        self._logs: defaultdict[str, set[int]] = defaultdict(set)
        for conversation, seq in self._listed(
            "select conversation, seq from updates indexed by updates_by_conversation",
            "select conversation, seq from updates not indexed",
        ):
            self._logs[conversation].add(seq)
        snapshots = self._listed(
            "select conversation from snapshots", "select conversation from snapshots not indexed"
        )
        self._snapshots = {name for (name,) in snapshots}
        listed = self._listed("select id, title, created, updated, forked_from from conversations")
        self._infos = {row[0]: ConversationInfo(*row) for row in listed}
        self._blobs = self._listed("select sha256 from blobs", "select sha256 from blobs not indexed")

    def _listed(self, *statements: str) -> set[tuple[Any, ...]]:
        rows: set[tuple[Any, ...]] = set()
        for statement in statements:
            with suppress(StoreError), self._engine.connection.reading() as execute:
                # What was read before a damaged page is kept.
                rows.update(row for row in execute(statement) if isinstance(row[0], str))
        return rows

    def run(self, progress: Progress | None) -> list[Damage]:
        conversations = sorted({*self._logs, *self._snapshots, *self._infos})
        steps: list[Callable[[], Iterable[Damage]]] = [
            *(self._file, self._search),
            *(partial(self._conversation, conversation) for conversation in conversations),
            *(partial(self._blob, sha256) for (sha256,) in sorted(self._blobs)),
        ]
        return _told(steps, progress)

    def _file(self) -> Iterator[Damage]:
        lines: list[str] = []
        try:
            with self._engine.connection.reading() as execute:
                lines.extend(line for (line,) in execute("pragma integrity_check"))
        except StoreError:
            lines.append("SQLite's own check breaks off at a damaged page")
        yield from (Damage("file", None, "", line) for line in lines if line != "ok")

    # The log

    def _conversation(self, conversation: str) -> Iterable[Damage]:
        found = [*self._snapshot(conversation)]
        for seq in sorted(self._logs[conversation]):
            found.extend(self._update(conversation, seq))
        # Of a damaged log no document can be made.
        listed = self._infos.get(conversation)
        return found or check_conversation(self._engine, ConversationId(conversation), listed)

    def _update(self, conversation: str, seq: int) -> Iterator[Damage]:
        rows = self._read(
            "select crc, data from updates where seq = ? and conversation = ?", seq, conversation
        )
        if rows and is_whole(*rows[0]):
            yield from update_damage(conversation, seq, rows[0][1])
        else:
            yield Damage("update", conversation, str(seq), f"the update {seq} is damaged")

    def _snapshot(self, conversation: str) -> Iterator[Damage]:
        if conversation not in self._snapshots:
            return
        rows = self._read("select crc, data, seq from snapshots where conversation = ?", conversation)
        try:
            if rows and is_whole(*rows[0][:2]):
                check_update(zlib.decompress(rows[0][1]))
                return
        except (zlib.error, MalformedUpdate):
            # Written so: not what a disk does.
            pass
        yield Damage("snapshot", conversation, str(rows[0][2]) if rows else "", "its snapshot is damaged")

    def _blob(self, sha256: str) -> Iterator[Damage]:
        rows = self._read("select data from blobs where sha256 = ?", sha256)
        if not rows or not is_named(sha256, rows[0][0]):
            yield Damage("blob", None, sha256, f"the blob {sha256:.64} is damaged")

    def _read(self, statement: str, *values: object) -> list[Any]:
        """Return rows, none where they can't be read."""
        with suppress(StoreError):
            return self._rows(statement, *values)
        return []

    # Full-text search: contentless, so that its words are compared with those of the stored messages.

    def _search(self) -> Iterator[Damage]:
        try:
            names = dict(self._rows("select key, conversation from indexes"))
            with self._engine.connection.reading() as execute:
                found = _words(execute)
            expected = self._expected_words(names)
        except (*UNREADABLE, sqlite3.Error) as error:
            yield Damage("index", None, "search", f"search can't be checked ({type(error).__name__})")
            return
        for key in sorted(expected.keys() | found.keys()):
            if expected[key] != found[key]:
                text = "full-text search does not find what its messages say"
                yield Damage("index", names.get(key), "search", text)

    def _expected_words(self, names: Mapping[int, str]) -> Counter[int]:
        words: Counter[int] = Counter()
        with closing(sqlite3.connect(":memory:")) as scratch:
            scratch.execute(
                "create virtual table found using fts5"
                " (text, content = '', tokenize = 'unicode61 remove_diacritics 2')"
            )
            scratch.execute(_WORDS)
            for key, name in names.items():
                rows = self._rows("select place from messages where key = ?", key)
                places = [int(place) for (place,) in rows]
                for first in range(0, len(places), PAGE):
                    some = places[first : first + PAGE]
                    messages = self._engine.index.messages(ConversationId(name), some)
                    texts = ((key << 32 | at, searchable(m)) for at, m in zip(some, messages, strict=True))
                    scratch.executemany(
                        "insert into found (rowid, text) values (?, ?)", [row for row in texts if row[1]]
                    )
                    words.update(_words(scratch.execute))
                    scratch.execute("insert into found (found) values ('delete-all')")
        return words


def _words(execute: Execute) -> Counter[int]:
    """Return a sum over all words in a search index, by the key of the conversation they stand in."""
    words: Counter[int] = Counter()
    for term, row_id, offset in execute("select term, doc, offset from temp.words"):
        words[row_id >> 32] += hash((term, row_id, offset))
    return words


# Backup


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
            told = _store_error(target, error)
            # Only the store can be damaged; whatever else is in the way is so at the copy.
            raise (_store_error(engine.path, error) if isinstance(told, StoreCorrupt) else told) from error


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


# A new file in its place


@contextmanager
def draft_of(target: Path, source: Path) -> Iterator[Path]:
    """
    Yield a name beside ``target``, which becomes it at the end; after an error nothing of it is left.

    Raises:
        StoreError: There is such a file, or it can't be made.
    """
    _check_free(target, source)
    draft = target.with_name(f".{new_id()}.part")
    try:
        with on_disk(target):
            # Nobody else reads it before it has the rights of the store that it is made from.
            draft.touch(0o600, exist_ok=False)
        yield draft
        with on_disk(target):
            if source.exists():
                draft.chmod(stat.S_IMODE(source.stat().st_mode) | 0o600)
            _sync(draft)
            _check_free(target, source)
            draft.rename(target)
            _sync(target.parent)
    except StoreFull as error:
        raise StoreFull(f"{target}: the disk is full; make room and try again") from error
    finally:
        for end in _BESIDE:
            with suppress(OSError):
                draft.with_name(draft.name + end).unlink()


def _check_free(target: Path, source: Path) -> None:
    if not target.parent.is_dir():
        raise StoreMissing(f"there is no folder {target.parent}: make it first")
    resolved = source.resolve()
    if target.resolve() in {resolved.with_name(resolved.name + end) for end in _BESIDE}:
        raise StoreError(f"{target} is the store itself: choose another name")
    # Also a link that leads nowhere: renaming would replace it.
    if target.exists() or target.is_symlink():
        raise StoreError(f"{target} is there already: choose another name, or remove it first")


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # A folder can't be opened there.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Map the errors of a disk."""
    try:
        yield
    except OSError as error:
        kind = _BY_ERRNO.get(error.errno or 0, StoreError)
        raise kind(f"{path}: {error.strerror}: make room, or look at the disk and its rights") from error
