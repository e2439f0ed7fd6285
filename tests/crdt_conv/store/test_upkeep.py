"""
Copies, checks and recovery, with real damage: rubbish on every page of a file, files cut short, torn logs.

What stands on which page is asked of SQLite itself (``dbstat``) in the whole file, never
of the code under test.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import (
    Damage,
    MemoryEngine,
    Store,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreReadOnly,
    StoreTooNew,
    new_part,
    recover,
)
from crdt_conv.ids import ConversationId
from crdt_conv.store import upkeep
from tests.replicas import sqlite_of, texts

PAGE = 4096
BLOB = random.Random(1).randbytes(9000)


def said(number: int, length: int) -> str:
    """Return a text that no other has a piece of."""
    return f"about {number}: " + random.Random(number).randbytes(length // 2).hex()


def fill(path: Path) -> None:
    """Write a store of about 40 pages: a snapshot, logs, a long message, blobs, leases, peers."""
    with Store(path, name="Ann") as store:
        short = store.create("Compacted")
        for number in range(6):
            short.append("user" if number % 2 else "assistant", said(number, 300))
        short.append(
            "user",
            "look",
            parts=[short.attach_bytes(BLOB, mime="x/y"), short.attach_bytes(b"small", mime="x/y")],
        )
        store.compact(short.id)
        short.append("user", "behind the snapshot")
        log = store.create("Log")
        for number in range(10, 24):
            log.append("user", said(number, 700))
        fork = store.fork(log.id, "Fork")
        fork.append("user", "on the fork")
        store.create("Long").append("user", said(99, 12_000))
        store.engine.acquire_lease("run", "executor", at_ms=10**12, until_ms=10**12 + 5)
        store.acknowledge("peer", short.id, 3)
        store.acknowledge("peer", log.id, 12)
        store.delete(store.create("Deleted").id)


@dataclass(frozen=True)
class Whole:
    """A store that nothing is wrong with, and what it says."""

    path: Path
    said: dict[str, dict[str, str]]
    digests: dict[str, str]
    titles: dict[str, str]
    rows: dict[str, dict[str, list[Any]]]
    """By table, by what ``Damage`` calls it."""
    standing: dict[int, set[tuple[str, str]]]
    """By page, the rows of the three tables with checksums that have a part of theirs there."""
    tables: dict[int, tuple[str, str]]
    """By page, its table or index, and whether it is a leaf, internal or overflow."""

    @property
    def pages(self) -> range:
        return range(1, self.path.stat().st_size // PAGE + 1)


KEYED = {"updates": "seq", "snapshots": "conversation", "blobs": "sha256"}
OTHERS = ("conversations", "leases", "outbox", "settings", "deleted")


def rows_of(path: Path) -> dict[str, dict[str, list[Any]]]:
    """Return all canonical rows of a store, by what names them."""
    with closing(sqlite3.connect(path)) as connection:
        keyed = {
            table: {str(row[0]): row[1:] for row in connection.execute(f"select {key}, * from {table}")}
            for table, key in KEYED.items()
        }
        others = {
            table: {"all": connection.execute(f"select * from {table} order by 1, 2").fetchall()}
            for table in OTHERS
        }
    return keyed | others


def standing_of(path: Path) -> tuple[dict[int, set[tuple[str, str]]], dict[int, tuple[str, str]]]:
    """Return what stands on each page, told by SQLite: rows leaf by leaf, and where they go on."""
    standing: dict[int, set[tuple[str, str]]] = {}
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("select pageno, name, pagetype from dbstat")
        tables = {page: (name, kind) for page, name, kind in pages}
        for table, key in KEYED.items():
            keys = [str(row[0]) for row in connection.execute(f"select {key} from {table} order by rowid")]
            places = connection.execute(
                "select path, pageno, pagetype, ncell from dbstat where name = ? order by path", (table,)
            ).fetchall()
            cells: dict[tuple[str, int], str] = {}
            for leaf, page, kind, count in places:
                if kind == "leaf":
                    own = {(leaf, cell): keys.pop(0) for cell in range(count)}
                    standing[page] = {(table, name) for name in own.values()}
                    cells |= own
            for overflow, page, kind, _ in places:
                if kind == "overflow":
                    leaf, _, cell = overflow.partition("+")[0].rpartition("/")
                    standing[page] = {(table, cells[f"{leaf}/", int(cell, 16)])}
    return standing, tables


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return a store that nothing is wrong with."""
    path = tmp_path_factory.mktemp("whole") / "chats.db"
    fill(path)
    with Store(path) as store:
        live = [store.open(info.id) for info in store.list()]
        said = {str(one.id): {str(m.id): m.text for m in one.messages()} for one in live}
        digests = {str(one.id): one.log().digest.hex() for one in live}
        titles = {str(one.id): one.title for one in live}
    return Whole(path, said, digests, titles, rows_of(path), *standing_of(path))


@pytest.fixture
def path(whole: Whole, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copy(whole.path, tmp_path / "chats.db"))


def spoil(path: Path, page: int) -> None:
    """Write a page of rubbish, another for each page."""
    with path.open("r+b") as file:
        file.seek(PAGE * (page - 1))
        file.write(random.Random(page).randbytes(PAGE))


def spoiled(whole: Whole, folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield a page and a copy of the store in which it is rubbish, for every page."""
    for page in whole.pages:
        copy = Path(shutil.copy(whole.path, folder / f"{page}.db"))
        spoil(copy, page)
        yield page, copy


def files(folder: Path) -> list[str]:
    """Return what is in a folder, less the locks that stay."""
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


# Backup


def test_a_copy_has_everything(path: Path, whole: Whole, tmp_path: Path) -> None:
    """A copy opens as a store, row for row the same, and nothing is wrong with it."""
    with Store(path) as store:
        store.backup(tmp_path / "copy.db")
    assert rows_of(tmp_path / "copy.db") == whole.rows
    with Store(tmp_path / "copy.db") as copy:
        assert {info.id: copy.open(info.id).log().digest.hex() for info in copy.list()} == whole.digests
        assert list(copy.check()) == []


def test_a_copy_is_of_one_moment(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while it is made is written at once and not in it; what was before is, all of it."""
    monkeypatch.setattr(upkeep, "STEP", 3)
    told: list[tuple[int, int]] = []
    with Store(path) as store:
        conversation = store.create("Busy")
        before = [conversation.append("user", f"before {number}").text for number in range(3)]

        def meanwhile(done: int, total: int) -> None:
            told.append((done, total))
            conversation.append("user", f"meanwhile {done}")

        store.backup(tmp_path / "copy.db", meanwhile)
        assert len(conversation) == 3 + len(told)
    assert len(told) > 10
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    with Store(tmp_path / "copy.db") as copy:
        assert texts(copy.open(conversation.id).log().messages) == before
        assert list(copy.check()) == []


@pytest.mark.parametrize("at", [0, 5, -1])
def test_an_interrupted_copy_leaves_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Ctrl-C at the first, a middle or the last step: no file is left, and the store goes on."""
    monkeypatch.setattr(upkeep, "STEP", 3)
    steps = iter(range(1000))

    def interrupt(done: int, total: int) -> None:
        if next(steps) == at or (at < 0 and done == total):
            signal.raise_signal(signal.SIGINT)

    with Store(path) as store:
        with pytest.raises(KeyboardInterrupt):
            store.backup(tmp_path / "copy.db", interrupt)
        store.create("after")
        store.backup(tmp_path / "again.db")
    assert files(tmp_path) == ["again.db", "chats.db"]


KILLED = """
import os, signal, sys
from crdt_conv import Store
from crdt_conv.store import upkeep
upkeep.STEP = 3
Store(sys.argv[1]).backup(sys.argv[2], lambda done, total: done > 9 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_copy_is_not_under_its_name(path: Path, tmp_path: Path) -> None:
    """After SIGKILL in the middle nothing stands where the copy was to be, so that nobody trusts it."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(tmp_path / "copy.db")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "copy.db").exists()
    with Store(path) as store:
        store.backup(tmp_path / "copy.db")


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("there.db", StoreError, "is there already"),
        ("dangling.db", StoreError, "is there already"),
        ("chats.db", StoreError, "the store itself"),
        ("link.db", StoreError, "the store itself"),
        ("chats.db-wal", StoreError, "the store itself"),
        ("nowhere/copy.db", StoreMissing, "no folder"),
    ],
)
def test_a_copy_replaces_nothing(
    path: Path, tmp_path: Path, name: str, error: type[StoreError], words: str
) -> None:
    """A name that is taken, the store's own, or in no folder is refused, and nothing is changed."""
    (tmp_path / "there.db").write_text("mine")
    (tmp_path / "dangling.db").symlink_to(tmp_path / "gone")
    (tmp_path / "link.db").symlink_to(path)
    before = files(tmp_path)
    with Store(path) as store, pytest.raises(error, match=words):
        store.backup(tmp_path / name)
    assert (files(tmp_path), (tmp_path / "there.db").read_text()) == (before, "mine")


@pytest.mark.parametrize("pages", [1, 9, 30])
def test_a_full_disk_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """Where there is no room for the copy it says so, with the copy's name, and nothing of it is left."""
    connect = sqlite3.connect

    def small(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(database, *args, **options)
        if str(database).endswith(".part"):
            connection.execute(f"pragma max_page_count = {pages}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with Store(path) as store, pytest.raises(StoreFull, match=r"copy\.db: the disk is full"):
        store.backup(tmp_path / "copy.db")
    assert files(tmp_path) == ["chats.db"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EROFS, StoreReadOnly),
        (errno.EACCES, StoreReadOnly),
        (errno.EIO, StoreError),
    ],
)
def test_a_disk_that_fails_at_the_end_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[StoreError]
) -> None:
    """What the disk can't keep is not called a copy."""

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with Store(path) as store, pytest.raises(StoreError, match=r"copy\.db") as caught:
        store.backup(tmp_path / "copy.db")
    assert (type(caught.value), files(tmp_path)) == (error, ["chats.db"])


def test_every_store_can_be_copied(path: Path, whole: Whole, tmp_path: Path) -> None:
    """One in memory, and one that is open for reading only; not one that is closed, or no file of ours."""
    with Store(":memory:") as store:
        store.create("Trip").append("user", "kept")
        store.backup(tmp_path / "memory.db")
    with Store(tmp_path / "memory.db") as copy:
        assert [len(copy.open(info.id)) for info in copy.list()] == [1]
    with Store(path, read_only=True) as reader:
        reader.backup(tmp_path / "read.db")
    assert rows_of(tmp_path / "read.db") == whole.rows
    with pytest.raises(StoreError, match="closed"):
        reader.backup(tmp_path / "late.db")
    with pytest.raises(StoreError, match="no file of ours"):
        Store(engine=MemoryEngine()).backup(tmp_path / "other.db")


def test_a_copy_is_as_private_as_its_store(path: Path, tmp_path: Path) -> None:
    """What nobody else may read, nobody else may read in the copy."""
    path.chmod(0o600)
    with Store(path) as store:
        store.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


# The check


def found(store: Store, titles: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return what a check names, by kind and title of the conversation."""
    return {(damage.what, titles.get(damage.conversation or "", "")) for damage in store.check()}


def flip(table: str, column: str, where: str) -> str:
    """Return a statement that changes the first byte of a value, and nothing else."""
    return f"update {table} set {column} = cast(x'fe' || substr({column}, 2) as blob) {where}"


OF_LOG = "(select id from conversations where title = 'Log')"
LOG = f"where conversation = {OF_LOG}"
KEY = f"where key = (select key from indexes {LOG})"
DAMAGES = [
    (flip("updates", "data", f"{LOG} and seq % 2"), {("update", "Log")}),
    (flip("snapshots", "data", ""), {("snapshot", "Compacted")}),
    (flip("blobs", "data", ""), {("blob", "")}),
    ("delete from blobs where length(data) < 10", {("blob", "Compacted")}),
    (
        f"update updates set data = x'0102', crc = {zlib.crc32(bytes([1, 2]))} {LOG} and seq % 2",
        {("update", "Log")},
    ),
    (f"update conversations set title = 'Other' where id = {OF_LOG}", {("list", "Log")}),
    (f"delete from conversations where id = {OF_LOG}", {("list", "Log")}),
    (flip("messages", "content", f"{KEY} and place = 3"), {("index", "Log")}),
    (f"update messages set status = 'failed' {KEY} and place = 3", {("index", "Log")}),
    (f"delete from messages {KEY} and place = 3", {("index", "Log")}),
    (f"delete from messages {KEY} and place = 13", {("index", "Log")}),
    (flip("pages", "data", f"{KEY}"), {("index", "Log")}),
    (f"update indexes set tails = replace(tails, '14]', '13]') {LOG}", {("index", "Log")}),
    (f"update indexes set roots = '{{}}' {LOG}", {("index", "Log")}),
    (f"update indexes set quarantined = 'rubbish' {LOG}", {("index", "Log")}),
    (
        f"insert into found (rowid, text) select (key << 32) + 3, 'a word too many' from indexes {LOG}",
        {("index", "Log")},
    ),
    (
        "insert into found (found) values ('delete-all')",
        {("index", t) for t in ("Compacted", "Log", "Fork", "Long")},
    ),
]


@pytest.mark.parametrize(("statement", "expected"), DAMAGES)
def test_a_check_names_what_is_wrong(
    path: Path, whole: Whole, statement: str, expected: set[tuple[str, str]]
) -> None:
    """One byte or row that is not as it was written is named, with its conversation, and nothing else is."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount != 0
    with Store(path, read_only=True) as store:
        named = found(store, whole.titles)
        assert {what for what in named if what[0] != "index"} <= expected
        assert expected <= named
    if {what for what, _ in expected} == {"index"}:
        with Store(path) as store:
            store.clear_index()
            store.reindex()
            assert list(store.check()) == []


def test_a_check_names_each_row(path: Path) -> None:
    """Of a log, exactly the updates are named that say something else, can't be read, or never were one."""
    with closing(sqlite3.connect(path)) as connection, connection:
        seqs = [str(row[0]) for row in connection.execute(f"select seq from updates {LOG} order by seq")]
        connection.create_function("reworded", 1, lambda data: data.replace(b"about", b"above"))
        connection.execute("update updates set data = reworded(data) where seq = ?", (seqs[3],))
        connection.execute(flip("updates", "data", f"where seq = {seqs[5]}"))
        changed = (b"\1\2", zlib.crc32(b"\1\2"), seqs[7])
        connection.execute("update updates set data = ?, crc = ? where seq = ?", changed)
    with Store(path, read_only=True) as store:
        assert [(damage.what, damage.key) for damage in store.check()] == [
            ("update", seqs[number]) for number in (3, 5, 7)
        ]


def test_a_check_compares_every_message(path: Path) -> None:
    """A stored message that is missing, or has another author than in the document, is named by its id."""
    with closing(sqlite3.connect(path)) as connection, connection:
        last, *_ = connection.execute(f"select id from messages {KEY} order by place desc").fetchone()
        others = [row[0] for row in connection.execute(f"select id from messages {KEY}") if row[0] != last]
        # Neither is in any digest of the index, or found by any word.
        connection.create_function("forged", 1, forged)
        connection.execute(f"update pages set data = forged(data) {KEY}")
        connection.execute(f"delete from messages {KEY} and id = ?", (last,))
    with Store(path, read_only=True) as store:
        named = {damage.key for damage in store.check() if damage.what == "index"}
    assert {last, *others} <= named


def forged(page: bytes) -> bytes:
    """Return a page of the stored index whose messages somebody else wrote."""
    return zlib.compress(zlib.decompress(page).replace(b'"human"', b'"model"'))


def test_a_check_beside_a_writer_finds_nothing(path: Path) -> None:
    """While conversations grow at every step, all is as it was at the beginning; the steps are told."""
    told: list[tuple[int, int]] = []
    with Store(path) as store:
        conversation = store.create("Busy")

        def meanwhile(done: int, total: int) -> None:
            told.append((done, total))
            for number in range(70):
                conversation.append("user", f"{done} {number}")

        assert list(store.check(meanwhile)) == []
        assert list(store.check()) == []
    assert told == [(done, len(told)) for done in range(len(told))]
    assert len(told) > 7


def test_a_check_of_other_engines() -> None:
    """In memory all is read too; an engine of somebody else's is read as far as the seam goes."""
    for store in (Store(":memory:"), Store(engine=MemoryEngine())):
        conversation = store.create("Trip")
        conversation.append("user", "kept", parts=[conversation.attach_bytes(b"1", mime="x/y")])
        assert list(store.check()) == []
        assert list(store.check()) == []
        conversation.append(
            "user", "look", parts=[new_part("media", mime="x/y", sha256="0" * 64, size=1, name="")]
        )
        assert found(store, {conversation.id: "Trip"}) == {("blob", "Trip")}
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.check()


def test_a_cleared_index_is_made_anew_by_who_is_open(path: Path, whole: Whole) -> None:
    """A conversation that is in memory stores all of its index again, not only what is new."""
    with Store(path) as store:
        live = [store.open(info.id) for info in store.list()]
        for conversation in live:
            conversation.append("user", "new, and findable")
        store.clear_index()
        live[0].append("user", "newer, and findable")
        store.reindex()
        assert list(store.check()) == []
        assert len(store.search("findable")) == len(live) + 1
        assert {
            one.id: {m.id for m in one.messages()} >= set(whole.said[one.id]) for one in live
        } == dict.fromkeys(whole.said, True)


# Rubbish on every page


def ways_to_read(store: Store, conversation_id: str) -> Iterator[Callable[[], Mapping[str, object]]]:
    """Yield every way to read a conversation; each returns texts by message, or updates by number."""
    fresh = partial(store.open, conversation_id)
    yield lambda: {info.id: info.title for info in store.list() if info.id == conversation_id}
    yield lambda: {message.id: message.text for message in fresh().log(last=5).messages}
    yield lambda: {message.id: message.text for message in fresh().messages()}
    yield lambda: {message.id: message.text for message in fresh().log().messages}
    yield lambda: {str(seq): update for seq, update in store.read(ConversationId(conversation_id))}
    yield lambda: {
        found.message: fresh().message(found.message).text
        for found in store.search("about", conversation=conversation_id)
    }
    yield lambda: {"small": store.get_blob(hashlib.sha256(b"small").hexdigest())}


def truth_of(whole: Whole, conversation_id: str) -> dict[str, object]:
    """Return all that reading a conversation may return."""
    logged = {key: row[3] for key, row in whole.rows["updates"].items() if row[1] == conversation_id}
    snapshots = {str(row[1]): zlib.decompress(row[5]) for row in whole.rows["snapshots"].values()}
    others = {conversation_id: whole.titles[conversation_id], "small": b"small"}
    return {**whole.said[conversation_id], **logged, **snapshots, **others}


def test_a_damaged_page_gives_an_error_or_the_truth(whole: Whole, tmp_path: Path) -> None:
    """Whichever page is rubbish, what is read is what was written, and every error is a StoreError."""
    wrong, refused = [], Counter[int]()
    for page, copy in spoiled(whole, tmp_path):
        # From the search alone, which is named by a test of its own, below.
        errors = (StoreError, zlib.error) if whole.tables.get(page) == ("pages", "overflow") else StoreError
        with suppress(StoreError), Store(copy, read_only=True) as store:
            for conversation_id in whole.said:
                truth = truth_of(whole, conversation_id)
                for read in ways_to_read(store, conversation_id):
                    try:
                        wrong += [page] * (not read().items() <= truth.items())
                    except errors:
                        refused[page] += 1
    assert wrong == []
    assert (len(refused) > 20, len(whole.pages) > 40) == (True, True)


def test_damaged_contents_of_an_index_are_a_store_error(path: Path, whole: Whole) -> None:
    """Contents that can't be unpacked are damage like any other."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(flip("pages", "data", ""))
    with Store(path, read_only=True) as store, pytest.raises(StoreError):
        store.open(next(iter(whole.said))).log()


def named(damages: Iterable[Damage]) -> set[tuple[str, str]]:
    """Return the rows that are named, as ``Whole`` names them."""
    return {
        (f"{damage.what}s", str(damage.conversation) if damage.what == "snapshot" else damage.key)
        for damage in damages
        if damage.what in {"update", "snapshot", "blob"}
    }


def test_a_damaged_page_is_found_by_the_check(whole: Whole, tmp_path: Path) -> None:
    """Whichever page is rubbish, the check says so and names what stood there, or nobody can open it."""
    silent, unnamed = [], []
    for page, copy in spoiled(whole, tmp_path):
        try:
            with Store(copy, read_only=True) as store:
                damages = store.check()
        except StoreError:
            continue
        silent += [page] * (not damages)
        unnamed += sorted(whole.standing.get(page, set()) - named(damages))
    assert (silent, unnamed) == ([], [])


@pytest.mark.parametrize("act", ["search", "compact"])
def test_damaged_contents_are_a_store_error_everywhere(path: Path, act: str) -> None:
    """Search and compaction name damage as reading does."""
    with Store(path) as store:
        sqlite_of(store).execute(flip("pages", "data", ""))
        with pytest.raises(StoreError):
            store.search("about") if act == "search" else store.compact()


# Recovery


CANONICAL = {*KEYED, *OTHERS}


def recovered(whole: Whole, damaged: Path) -> tuple[set[tuple[str, str]], set[str], set[str]]:
    """
    Recover a file, look that all it says is right, and return what is not there.

    Returns:
        The rows of tables with checksums, the other tables that are not as they were, and the pages it names.
    """
    into, before = damaged.with_suffix(".new"), damaged.read_bytes()
    recovery = recover(damaged, into)
    assert damaged.read_bytes() == before
    rows = rows_of(into)
    assert recovery.recovered == {table: sum(map(len, rows[table].values())) for table in OTHERS} | {
        table: len(rows[table]) for table in KEYED
    }
    assert all(rows[table].items() <= whole.rows[table].items() for table in KEYED)
    lost = {(table, key) for table in KEYED for key in whole.rows[table].keys() - rows[table].keys()}
    assert named(recovery.lost) == lost
    read_right(whole, into, {conversation_of(whole, *row) for row in lost})
    pages = {damage.key for damage in recovery.lost if damage.what == "file"}
    return lost, {table for table in OTHERS if rows[table] != whole.rows[table]}, pages


def conversation_of(whole: Whole, table: str, key: str) -> str:
    """Return the conversation of a row."""
    return str(whole.rows[table][key][1]) if table == "updates" else key


def read_right(whole: Whole, into: Path, touched: set[str]) -> None:
    """Look that a recovered store says what the whole one said, and of some conversations no more."""
    with Store(into) as store:
        assert {damage.what for damage in store.check()} <= ({"list", "blob"} if touched else set())
        for conversation_id, said in whole.said.items():
            conversation = store.join(conversation_id)
            if conversation_id not in touched:
                assert conversation.log().digest.hex() == whole.digests[conversation_id]
                assert conversation.title == whole.titles[conversation_id]
            assert {message.id: message.text for message in conversation.messages()}.items() <= said.items()
        # A number is never given twice.
        assert store.create("new").last_seq > max(map(int, whole.rows["updates"]))


def test_all_but_a_damaged_page_is_recovered(whole: Whole, tmp_path: Path) -> None:
    """Whichever page is rubbish, exactly the rows on it are lost, and named; a damaged header says so."""
    for page, copy in spoiled(whole, tmp_path):
        if page == 1:
            with pytest.raises(StoreCorrupt, match="the header is damaged"):
                recovered(whole, copy)
        else:
            table, kind = whole.tables.get(page, ("", ""))
            pages = {str(page)} if table in CANONICAL and kind != "overflow" else set()
            gone = whole.standing.get(page, set())
            assert recovered(whole, copy) == (gone, {table} & {*OTHERS}, pages), page


@pytest.mark.parametrize("seed", range(6))
def test_all_but_several_damaged_pages_is_recovered(whole: Whole, path: Path, seed: int) -> None:
    """Of several damaged pages at once, those with pointers among them, only the rows on them are lost."""
    pointers = [page for page, (_, kind) in whole.tables.items() if kind == "internal"]
    pages = {*random.Random(seed).sample(whole.pages[1:], 4), pointers[seed % len(pointers)]}
    for page in pages:
        spoil(path, page)
    gone = set().union(*(whole.standing.get(page, set()) for page in pages))
    recovery = recover(path, path.with_suffix(".new"))
    rows = rows_of(path.with_suffix(".new"))
    assert {(table, key) for table in KEYED for key in whole.rows[table].keys() - rows[table].keys()} == gone
    assert named(recovery.lost) <= gone
    # Where the list of keys is damaged too, the page is named.
    assert bool(recovery.lost) >= bool(gone)


def test_what_is_left_of_a_file_cut_short_is_recovered(whole: Whole, path: Path) -> None:
    """Wherever a file ends too early, also within a page, the rows before are there."""
    for length in range(12 * PAGE, whole.pages[-1] * PAGE, 3 * PAGE + 100):
        copy = Path(shutil.copy(path, path.with_name(f"{length}.db")))
        os.truncate(copy, length)
        gone = set().union(*(whole.standing.get(page, set()) for page in whole.pages[length // PAGE :]))
        recovery = recover(copy, copy.with_suffix(".new"))
        rows = rows_of(copy.with_suffix(".new"))
        assert {(t, key) for t in KEYED for key in whole.rows[t].keys() - rows[t].keys()} == gone
        assert "before its end" in recovery.lost[0].text
    os.truncate(path, 3 * PAGE)
    with pytest.raises(StoreCorrupt, match="nothing of a store"):
        recover(path, path.with_name("none.db"))


def test_of_a_lost_snapshot_the_rest_waits(whole: Whole, path: Path) -> None:
    """What stands behind a lost snapshot is kept, and shown again when another device brings the rest."""
    spoil(
        path,
        next(page for page, rows in whole.standing.items() if {table for table, _ in rows} == {"snapshots"}),
    )
    recovery = recover(path, path.with_suffix(".new"))
    short = next(name for name, title in whole.titles.items() if title == "Compacted")
    assert [damage.conversation for damage in recovery.lost if damage.what == "snapshot"] == [short]
    with Store(path.with_suffix(".new")) as store, Store(whole.path, read_only=True) as other:
        conversation = store.open(short)
        assert len(conversation) == 0
        assert "pending_update" in {problem.code for problem in conversation.problems()}
        conversation.receive(other.open(short).encode())
        assert conversation.log().digest.hex() == whole.digests[short]


# Damage between the tables


def test_small_tables_of_many_pages_are_recovered(tmp_path: Path) -> None:
    """With a damaged root, leases, peers and the list are told by what they hold; its own rows are lost."""
    path = tmp_path / "chats.db"
    with Store(path) as store:
        trip = store.create("Trip").id
        execute = sqlite_of(store).execute
        for number in range(150):
            name = f"{number:040}"
            execute("insert into leases values (?, 'executor', ?, ?)", (name, number, 10**12 + number))
            execute("insert into outbox values (?, ?, ?, 7)", (name, trip, number))
            execute("insert into conversations values (?, 'Title', ?, ?, null)", (name, 10**12, 10**12))
    for table in ("leases", "outbox", "conversations"):
        copy = Path(shutil.copy(path, tmp_path / f"{table}.db"))
        with closing(sqlite3.connect(copy)) as connection:
            (page, cells), *_ = connection.execute(
                "select pageno, ncell from dbstat where name = ? and pagetype = 'internal'", (table,)
            ).fetchall()
        spoil(copy, page)
        recover(copy, copy.with_suffix(".new"))
        rows, kept = rows_of(path), rows_of(copy.with_suffix(".new"))
        assert set(kept[table]["all"]) <= set(rows[table]["all"])
        assert len(kept[table]["all"]) >= len(rows[table]["all"]) - cells
        assert all(kept[other] == rows[other] for other in CANONICAL - {table})


def test_on_a_damaged_page_only_checksums_are_believed(tmp_path: Path) -> None:
    """A lease that reads well on a page that is damaged elsewhere is lost with it, not taken on trust."""
    path = tmp_path / "chats.db"
    with Store(path) as store:
        for number in range(9):
            store.engine.acquire_lease(f"run-{number}", "executor", at_ms=10**12, until_ms=10**12)
    with closing(sqlite3.connect(path)) as connection:
        ((page,),) = connection.execute("select pageno from dbstat where name = 'leases'").fetchall()
    content = bytearray(path.read_bytes())
    start = PAGE * (page - 1)
    # One name is another, and the last row is where no row can be.
    content[start : start + PAGE] = content[start : start + PAGE].replace(b"run-3", b"run-x")
    content[start + 8 + 2 * 8 : start + 8 + 2 * 9] = b"\xff\xff"
    path.write_bytes(content)
    recovery = recover(path, tmp_path / "new.db")
    assert rows_of(tmp_path / "new.db")["leases"] == {"all": []}
    assert [(damage.what, damage.key) for damage in recovery.lost] == [("file", str(page))]


def test_what_a_snapshot_replaced_does_not_come_back(path: Path, whole: Whole, tmp_path: Path) -> None:
    """An update that stands before the snapshot of its conversation is left out: it may be redacted."""
    ((conversation_id, _),) = ((name, row) for name, row in whole.rows["snapshots"].items())
    with closing(sqlite3.connect(path)) as connection, connection:
        values = (conversation_id, zlib.crc32(b"\0\0"))
        connection.execute("insert into updates values (1, ?, null, x'0000', ?)", values)
    assert recover(path, tmp_path / "new.db").lost == []
    assert rows_of(tmp_path / "new.db") == whole.rows


def test_what_was_deleted_does_not_come_back(tmp_path: Path) -> None:
    """Pages that are not in use are not read, whatever they hold."""
    path = tmp_path / "chats.db"
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma secure_delete = off")
        kept = {row[0] for row in connection.execute("select seq from updates where seq > 20")}
        connection.execute("delete from updates where seq <= 20")
        assert connection.execute("pragma freelist_count").fetchone()[0] > 2
    recover(path, tmp_path / "new.db")
    assert set(rows_of(tmp_path / "new.db")["updates"]) == set(map(str, kept))


# The write-ahead log


def with_log(whole: Whole, folder: Path) -> Path:
    """Return a store as a killed writer leaves it: the last messages stand in the write-ahead log alone."""
    folder.mkdir()
    source = Path(shutil.copy(whole.path, folder / "source.db"))
    with Store(source) as store:
        long = next(info.id for info in store.list() if info.title == "Log")
        for number in range(5):
            store.open(long).append("user", f"last {number}")
        shutil.copy(f"{source}-wal", folder / "chats.db-wal")
        return Path(shutil.copy(source, folder / "chats.db"))


def last_texts(store: Path) -> list[str]:
    """Return what is there of the last messages."""
    with Store(store) as opened:
        long = next(info.id for info in opened.list() if info.title == "Log")
        return [text for text in texts(opened.open(long).log().messages) if text.startswith("last")]


def test_the_write_ahead_log_is_recovered(whole: Whole, tmp_path: Path) -> None:
    """What is acknowledged and not in the file yet is recovered, and neither file is touched."""
    path = with_log(whole, tmp_path / "killed")
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    assert recover(path, tmp_path / "new.db").lost == []
    assert last_texts(tmp_path / "new.db") == [f"last {number}" for number in range(5)]
    assert {file: file.read_bytes() for file in path.parent.iterdir() if file in before} == before


def test_a_torn_write_ahead_log_is_read_as_far_as_it_goes(whole: Whole, tmp_path: Path) -> None:
    """Wherever the log is torn, whole commits before are recovered, as SQLite itself would read them."""
    path = with_log(whole, tmp_path / "killed")
    log = path.with_name("chats.db-wal").read_bytes()
    counts = set()
    for number, at in enumerate(range(0, len(log), len(log) // 12)):
        torn = log[:at] + bytes(byte ^ 0xFF for byte in log[at : at + 8]) + log[at + 8 :]
        path.with_name("chats.db-wal").write_bytes(torn)
        # No commit is there in part.
        assert recover(path, tmp_path / f"{number}.db").lost == []
        counts.add(len(last_texts(tmp_path / f"{number}.db")))
        copy = Path(shutil.copy(path, tmp_path / f"{number}.copy"))
        shutil.copy(f"{path}-wal", f"{copy}-wal")
        assert last_texts(tmp_path / f"{number}.db") == last_texts(copy)
    assert len(counts) > 3


# What can't be


def test_recovery_replaces_nothing(path: Path, tmp_path: Path) -> None:
    """A name that is taken and the damaged file itself are refused; a writer is named."""
    (tmp_path / "there.db").write_text("mine")
    with pytest.raises(StoreError, match="is there already"):
        recover(path, tmp_path / "there.db")
    with pytest.raises(StoreError, match="the store itself"):
        recover(path, path)
    with pytest.raises(StoreMissing, match="no store"):
        recover(tmp_path / "gone.db", tmp_path / "new.db")
    with Store(path), pytest.raises(StoreLocked):
        recover(path, tmp_path / "new.db")
    with pytest.raises(KeyboardInterrupt):
        recover(path, tmp_path / "new.db", lambda *_: signal.raise_signal(signal.SIGINT))
    assert files(tmp_path) == ["chats.db", "there.db"]


def test_the_pages_are_told(path: Path, whole: Whole, tmp_path: Path) -> None:
    """How far a recovery is never goes back, and never past the end."""
    told: list[tuple[int, int]] = []
    recover(path, tmp_path / "new.db", lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert {total for _, total in told} == {len(whole.pages)}


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "header"), (b"no database " * 900, "header"), (b"SQLite format 3\0" + bytes(9000), "header")],
)
def test_a_file_that_is_no_database_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    """Where the header does not say what the rest is, nothing is guessed."""
    (tmp_path / "chats.db").write_bytes(data)
    with pytest.raises(StoreCorrupt, match=words):
        recover(tmp_path / "chats.db", tmp_path / "new.db")
    assert files(tmp_path) == ["chats.db"]


def test_another_program_s_database_is_named(path: Path, tmp_path: Path) -> None:
    """Nothing of a store in a sound file is an error, and so is a store of a later version."""
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("create table songs (name text)")
        connection.execute("insert into songs values ('x')")
        connection.commit()
    with pytest.raises(StoreCorrupt, match="nothing of a store"):
        recover(tmp_path / "other.db", tmp_path / "new.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) values ('crdt_conv', 'm9', '')"
        )
    with pytest.raises(StoreTooNew, match="later version"):
        recover(path, tmp_path / "new.db")


def test_a_full_disk_ends_a_recovery(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the room for what is recovered nothing of it is left."""
    connect = sqlite3.connect

    def small(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(database, *args, **options)
        if ".part" in str(database):
            connection.execute("pragma max_page_count = 40")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(StoreFull, match=r"new\.db: the disk is full"):
        recover(path, tmp_path / "new.db")
    assert files(tmp_path) == ["chats.db"]
