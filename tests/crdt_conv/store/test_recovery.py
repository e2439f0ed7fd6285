"""Recovery, with real damage: rubbish on every page of a file, files cut short, torn logs."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import (
    Store,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreTooNew,
    recover,
)
from tests.crdt_conv.store.wholes import (
    KEYED,
    OTHERS,
    PAGE,
    Whole,
    files,
    fill,
    named,
    rows_of,
    spoil,
    spoiled,
)
from tests.replicas import sqlite_of, texts


@pytest.fixture
def path(whole: Whole, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copy(whole.path, tmp_path / "chats.db"))


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


@pytest.mark.usefixtures("dbstat")
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
            execute("insert into conversations values (?, 'Title', ?, ?, null, 0)", (name, 10**12, 10**12))
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


@pytest.mark.usefixtures("dbstat")
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
    """Wherever the log is torn, it is said, and whole commits before are recovered, as by SQLite itself."""
    path = with_log(whole, tmp_path / "killed")
    log = path.with_name("chats.db-wal").read_bytes()
    counts = set()
    for number, at in enumerate(range(0, len(log), len(log) // 12)):
        torn = log[:at] + bytes(byte ^ 0xFF for byte in log[at : at + 8]) + log[at + 8 :]
        path.with_name("chats.db-wal").write_bytes(torn)
        # No commit is there in part.
        assert [(lost.what, lost.key) for lost in recover(path, tmp_path / f"{number}.db").lost] == [
            ("file", "wal")
        ]
        counts.add(len(last_texts(tmp_path / f"{number}.db")))
        copy = Path(shutil.copy(path, tmp_path / f"{number}.copy"))
        shutil.copy(f"{path}-wal", f"{copy}-wal")
        assert last_texts(tmp_path / f"{number}.db") == last_texts(copy)
    assert len(counts) > 3


def test_the_commits_that_a_torn_log_loses_are_counted(whole: Whole, tmp_path: Path) -> None:
    """Each commit is behind the frame that is named, or is there."""
    path = with_log(whole, tmp_path / "killed")
    log = bytearray(path.with_name("chats.db-wal").read_bytes())
    frames = range(32, len(log), 24 + PAGE)
    ends = [log[at + 4 : at + 8] != bytes(4) for at in frames]
    log[frames[2] + 24] ^= 1
    path.with_name("chats.db-wal").write_bytes(log)
    (lost,) = recover(path, tmp_path / "new.db").lost
    assert f"frame 3, and {sum(ends[2:])} commits" in lost.text


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_what_no_commit_ended_is_no_damage(whole: Whole, tmp_path: Path, keep: int) -> None:
    """A writer killed within a commit, and an earlier round of the log behind the last, lose nothing."""
    path = with_log(whole, tmp_path / "killed")
    log = path.with_name("chats.db-wal").read_bytes()
    frame = 24 + PAGE
    ends = [at for at in range(32, len(log), frame) if log[at + 4 : at + 8] != bytes(4)]
    torn = log[32 : 32 + frame * keep].replace(log[16:24], b"a round ", keep)
    path.with_name("chats.db-wal").write_bytes(log[: ends[-1]] + torn)
    assert recover(path, tmp_path / "new.db").lost == []
    assert last_texts(tmp_path / "new.db") == [f"last {number}" for number in range(4)]


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
