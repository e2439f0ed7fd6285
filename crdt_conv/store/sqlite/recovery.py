"""
Recovery: what a damaged SQLite file still has, read page by page and written into a new store.

Updates and snapshots are believed for their CRC, blobs for their SHA-256, and
everything else only on a sound page. Below a damaged page of pointers rows are told
by their shape. What is derived is made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import NoneType
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

from crdt_conv.errors import StoreCorrupt, StoreError, StoreMissing, StoreReadOnly, StoreTooNew
from crdt_conv.ids import ConversationId
from crdt_conv.store.check import described
from crdt_conv.store.damage import Damage, Progress, is_named, is_whole, update_damage
from crdt_conv.store.draft import draft_of, on_disk
from crdt_conv.store.lock import WriterLock
from crdt_conv.store.sqlite.engine import Execute, SqliteEngine
from crdt_conv.store.sqlite.migrations import migrations
from crdt_conv.store.sqlite.pages import Page, Pages


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was brought back, by kind, and what was not."""

    recovered: Mapping[str, int]
    lost: Sequence[Damage]


_Key: TypeAlias = tuple[str, str, str | int]
"""Kind, conversation and what else names one thing in a store."""


class _Shape(NamedTuple):
    """The types of a table's columns, how many the first version had, and how a row is kept."""

    types: str
    least: int
    insert: str = ""


_SHAPES: Final = {
    "updates": _Shape("ntobi", 4, "insert or ignore into updates values (?, ?, ?, ?, ?)"),
    "snapshots": _Shape("tiiiib", 6, "insert or ignore into snapshots values (?, ?, ?, ?, ?, ?)"),
    "blobs": _Shape("tib", 3, "insert or ignore into blobs values (?, ?, ?)"),
    "conversations": _Shape("ttiioi", 4, "insert or ignore into conversations values (?, ?, ?, ?, ?, ?)"),
    "leases": _Shape("ttii", 4, "insert or ignore into leases values (?, ?, ?, ?)"),
    "outbox": _Shape("ttii", 3, "insert or ignore into outbox values (?, ?, ?, ?)"),
    "settings": _Shape("tt", 2, "insert or ignore into settings values (?, ?)"),
    "deleted": _Shape("ti", 2, "insert or ignore into deleted values (?, ?)"),
    "updates_by_conversation": _Shape("tii", 3),
    "sqlite_autoindex_snapshots_1": _Shape("ti", 2),
    "sqlite_autoindex_blobs_1": _Shape("ti", 2),
    "sqlite_sequence": _Shape("ti", 2),
}
_CODES: Final = {NoneType: "n", str: "t", int: "i", bytes: "b"}
# Those whose shape no other table has, so that a row says where it is from.
_TELLING: Final = ("updates", "snapshots", "blobs", "updates_by_conversation", "settings")
_TIMES: Final = 10**11
"""From here on a number is a time in milliseconds, and no epoch or sequence number."""


def recover(path: str | Path, into: str | Path, progress: Progress | None = None) -> Recovery:
    """
    Write all that a damaged store still has into a new one; the damaged file is only read.

    Sequence numbers stay. Where a snapshot is lost, what stands behind it is kept and waits.

    Args:
        path: The damaged file, with its write-ahead log beside it.
        into: The new store.
        progress: Is told how many pages are done, of how many.

    Raises:
        StoreCorrupt: The header is damaged, or nothing of a store is in the file.
        StoreLocked: Another process writes to it.
        StoreError: ``into`` is there already or can't be written, or ``path`` can't be read.
    """
    source, target = Path(path), Path(into)
    if not source.is_file():
        raise StoreMissing(f"there is no store at {source}")
    with _read_alone(source) as pages, draft_of(target, source) as draft:
        engine = SqliteEngine(draft)
        try:
            with engine.connection.writing() as execute:
                recovery = _Rescue(source, pages, execute).run(engine, progress)
            for deleted in engine.tombstones():
                # Found where nothing leads to it.
                engine.delete(deleted, at_ms=0)
            engine.connection.shrink()
            if not engine.connection.empty_log():
                raise StoreError(f"{target}: another program holds the new file; close it and try again")
        finally:
            engine.close()
    return recovery


@contextmanager
def _read_alone(path: Path) -> Iterator[Pages]:
    """Keep writers away, where anybody could write, and read."""
    log = path.with_name(f"{path.name}-wal")
    with ExitStack() as stack:
        with suppress(StoreReadOnly):
            stack.callback(WriterLock(path, "the recovery of this store").release)
        with on_disk(path):
            file = stack.enter_context(path.open("rb"))
            beside = stack.enter_context(log.open("rb")) if log.exists() else BytesIO()
            pages = Pages(path, file, beside)
        yield pages


class _Rescue:
    """One recovery: what is found goes into the new store, and what ought to be there is written down."""

    def __init__(self, path: Path, pages: Pages, execute: Execute) -> None:
        self._path, self._pages, self._execute = path, pages, execute
        self._damage: list[Damage] = []
        # What there was, also by lists of keys, and what came through.
        self._expected: set[_Key] = set()
        self._saved: set[_Key] = set()
        self._snapshots: dict[str, int] = {}
        self._last_seq = 0
        self._doubtful: list[list[Any]] = []

    def run(self, engine: SqliteEngine, progress: Progress | None) -> Recovery:
        if self._pages.missing:
            text = f"the file ends {self._pages.missing} pages before its end"
            self._damage.append(Damage("file", None, "", text))
        if self._pages.log_damage:
            self._damage.append(Damage("file", None, "wal", self._pages.log_damage))
        for done, (name, number, page) in enumerate(self._all_pages()):
            if progress is not None:
                progress(min(done, self._pages.count), self._pages.count)
            self._take_page(name, number, page)
        for row in self._doubtful:
            self._put(self._guess(row), row)
        self._drop_replaced()
        self._list_anew(engine)
        self._go_on_counting()
        counts = {name: engine.connection.db[name].count for name in _SHAPES if _SHAPES[name].insert}
        if not any(counts.values()):
            raise StoreCorrupt(f"{self._path}: nothing of a store is in it")
        return Recovery(counts, [*self._damage, *self._lost()])

    # Reading

    def _all_pages(self) -> Iterator[tuple[str, int, Page]]:
        """Yield every page behind the name of its table or index, empty where no tree leads to it."""
        schema = [row for _, page in self._pages.tree(1) for _, row in page.rows]
        roots = {row[1]: row[3] for row in schema if len(row) == 5 and isinstance(row[3], int)}
        for name, root in roots.items():
            for number, page in self._pages.tree(root):
                yield name, number, page
        yield from (("", 0, page) for page in self._pages.rest())

    def _take_page(self, name: str, number: int, page: Page) -> None:
        if name and not page.is_sound and name in _SHAPES and _SHAPES[name].insert:
            text = f"page {number} of the table {name} is damaged, and what stood on it lost"
            self._damage.append(Damage("file", None, str(number), text))
        for row_id, row in page.rows:
            if name == "_sqlite_migrations":
                self._check_version(row)
            elif name or page.is_sound:
                self._take(name or _told(row), row_id, row, is_sound=page.is_sound)

    def _check_version(self, row: list[Any]) -> None:
        ours = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - no public list
        if "crdt_conv" in row and not ours & set(row):
            raise StoreTooNew(f"{self._path} was written by a later version of crdt-conv: upgrade first")

    def _take(self, name: str, row_id: int, row: list[Any], *, is_sound: bool) -> None:
        if name == "doubtful":
            self._doubtful.append(row)
        elif not _fits(name, row):
            return
        elif name == "updates":
            self._take_update(row_id, row)
        elif name == "snapshots":
            self._take_snapshot(row)
        elif name == "blobs":
            self._keep(("blob", "", row[0]), name, row, is_good=is_named(row[0], row[2]))
        elif is_sound:
            self._take_other(name, row)

    def _take_update(self, seq: int, row: list[Any]) -> None:
        _, conversation, origin, data, *crc = row
        # The first version had no checksums.
        is_good = is_whole(crc[0], data) if crc else not any(update_damage(conversation, seq, data))
        self._last_seq = max(self._last_seq, seq)
        values = [seq, conversation, origin, data, crc32(data)]
        self._keep(("update", conversation, seq), "updates", values, is_good=is_good)

    def _take_snapshot(self, row: list[Any]) -> None:
        conversation, seq, _, _, crc, data = row
        if is_whole(crc, data):
            self._snapshots[conversation] = seq
            self._last_seq = max(self._last_seq, seq)
        self._keep(("snapshot", conversation, ""), "snapshots", row, is_good=is_whole(crc, data))

    def _take_other(self, name: str, row: list[Any]) -> None:
        if name == "updates_by_conversation":
            self._expected.add(("update", row[0], row[1]))
            self._last_seq = max(self._last_seq, row[1])
        elif name == "sqlite_autoindex_snapshots_1":
            self._expected.add(("snapshot", row[0], ""))
        elif name == "sqlite_autoindex_blobs_1":
            self._expected.add(("blob", "", row[0]))
        elif name == "sqlite_sequence":
            self._last_seq = max(self._last_seq, row[1])
        else:
            self._put(name, row)

    # Writing

    def _keep(self, key: _Key, name: str, row: list[Any], *, is_good: bool) -> None:
        """Write a row down as one that there was, and keep it if it is as it was written."""
        self._expected.add(key)
        if is_good:
            self._saved.add(key)
            self._put(name, row)

    def _put(self, name: str, row: list[Any]) -> None:
        types, _, insert = _SHAPES[name]
        # Columns that the first version had not.
        self._execute(insert, [*row, *(None if kind == "o" else 0 for kind in types[len(row) :])])

    def _guess(self, row: list[Any]) -> str:
        """Return whose a row may be that three tables have."""
        if len(row) == 4 and row[2] >= _TIMES:
            return "conversations"
        return "outbox" if len(row) == 3 or row[1] in {name for _, name, _ in self._expected} else "leases"

    def _drop_replaced(self) -> None:
        # Found where nothing leads to it: what it says, redacted perhaps, is in the snapshot or gone.
        self._execute(
            "delete from updates where seq <="
            " (select seq from snapshots where snapshots.conversation = updates.conversation)"
        )

    def _list_anew(self, engine: SqliteEngine) -> None:
        """List the conversations whose row in the list is lost."""
        listed = {*(info.id for info in engine.conversations()), *engine.tombstones()}
        for conversation in sorted({name for kind, name, _ in self._saved if kind != "blob"} - listed):
            log = engine.read(ConversationId(conversation))
            self._put("conversations", [*described(ConversationId(conversation), log)])
            text = "its row in the list is lost, and made anew from its document"
            self._damage.append(Damage("list", conversation, "", text))

    def _go_on_counting(self) -> None:
        acknowledged = self._execute("select coalesce(max(seq), 0) from outbox").fetchone()[0]
        # A number is never given twice.
        last = max(self._last_seq, acknowledged)
        self._execute("delete from sqlite_sequence")
        self._execute("insert into sqlite_sequence values ('updates', ?)", [last])

    def _lost(self) -> Iterator[Damage]:
        rest = "; what was written on top of it waits until another device brings it"
        for kind, conversation, key in sorted(self._expected - self._saved, key=str):
            if kind != "update" or int(key) > self._snapshots.get(conversation, 0):
                text = f"the {kind} {key or conversation} is lost{rest if conversation else ''}"
                yield Damage(kind, conversation or None, str(key), text)


def _fits(name: str, row: list[Any]) -> bool:
    shape = _SHAPES.get(name)
    if shape is None or not shape.least <= len(row) <= len(shape.types):
        return False
    codes = "".join(_CODES[type(value)] for value in row)
    # Shorter rows are from before a column was added; "o" may be text or nothing.
    return all(
        code in ("nt" if kind == "o" else kind) for kind, code in zip(shape.types, codes, strict=False)
    )


def _told(row: list[Any]) -> str:
    """Return whose a row is that no tree leads to."""
    for name in _TELLING:
        if _fits(name, row):
            return name
    if len(row) >= 5 and _fits("conversations", row):
        return "conversations"
    return "doubtful" if _fits("outbox", row) else ""
