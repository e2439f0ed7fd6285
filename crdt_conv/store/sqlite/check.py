"""
The check of a store: every byte of its file, row by row, and every conversation.

All is seen as it was at one moment, and no writer is held up. What a damaged file
still has is saved by ``recovery``.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any, Final

from crdt_conv.engine import Engine
from crdt_conv.errors import MalformedUpdate, StoreCorrupt, StoreError
from crdt_conv.ids import ConversationId
from crdt_conv.messages.bodies import searchable
from crdt_conv.store.check import UNREADABLE, check_conversation
from crdt_conv.store.damage import Damage, Progress, is_named, is_whole, update_damage
from crdt_conv.store.sqlite.backup import moment
from crdt_conv.store.sqlite.engine import SqliteEngine
from crdt_conv.store.sqlite.renewal import is_log_sound
from crdt_conv.store.sqlite.rows import LISTED, PAGE, Execute, info_of
from crdt_conv.yjs.updates import check_update

_WORDS: Final = "create virtual table if not exists temp.words using fts5vocab (main, found, instance)"


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
        listed = self._listed(LISTED)
        self._infos = {row[0]: info_of(row) for row in listed}
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
        wrong = [line for line in lines if line != "ok"]
        what = "file" if wrong and not is_log_sound(self._engine.connection) else "index"
        yield from (Damage(what, None, "", line) for line in wrong)

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
