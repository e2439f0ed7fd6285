"""
Stores of every released version, opened by this one.

``data/v1.sqlite`` was written by the code of the first version (commit a388ed0: its only
migration is ``m001_log``), and ``data/v1.json`` is what that code then read in it: a
streamed message, one still streaming, a fork merged back, a run, updates from a peer,
leases and what peers have acknowledged.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from crdt_conv import ConversationDeleted, Store, StoreError, StoreFull, StoreReadOnly, recover
from crdt_conv.store.sqlite.migrations import migrations
from tests.replicas import sqlite_of, texts

DATA = Path(__file__).parent / "data"
NAMES = [migration.name for migration in migrations._migrations]
TABLES = ("updates", "conversations", "leases", "outbox", "settings")


@pytest.fixture(params=sorted(path.stem for path in DATA.glob("v*.sqlite")))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Return a copy of an old store, and what its own version read in it."""
    path = tmp_path / "chats.db"
    shutil.copy(DATA / f"{request.param}.sqlite", path)
    return path, json.loads((DATA / f"{request.param}.json").read_text())


def asked(path: Path, statement: str) -> list[Any]:
    """Return the rows of one statement, asked without our code."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def contents(path: Path) -> dict[str, list[Any]]:
    """Return the tables of the first version, and the whole schema."""
    known = {table: asked(path, f"select * from {table} order by 1, 2") for table in TABLES}
    return known | {"schema": asked(path, "select type, name, sql from sqlite_schema order by 1, 2")}


def read_back(store: Store) -> dict[str, Any]:
    """Return what a store says of its conversations, in the form of the data."""
    shown: dict[str, Any] = {}
    for info in store.list():
        conversation = store.open(info.id)
        logs = {branch: conversation.log(branch) for branch in conversation.branches}
        shown[info.id] = {
            "title": conversation.title,
            "created": info.created,
            "updated": info.updated,
            "logs": {
                branch: {"texts": texts(log.messages), "digest": log.digest.hex()}
                for branch, log in logs.items()
            },
            "statuses": [message.status for message in logs["main"].messages],
            "waiting": {peer: conversation.waiting(peer) for peer in ("laptop", "phone")},
            "last_seq": conversation.last_seq,
            "runs": [[run.id, run.state] for run in conversation.runs.all()],
        }
    return shown


def test_an_old_store_says_what_it_said(old: tuple[Path, dict[str, Any]]) -> None:
    """Texts, digests, states, the list and what peers lack are as the old version read them."""
    path, truth = old
    with Store(path) as store:
        assert (store.device, read_back(store)) == (truth["device"], truth["conversations"])
        assert list(store.check()) == []
        store.reindex()
        assert (read_back(store), list(store.check())) == (truth["conversations"], [])


def test_no_row_is_lost(old: tuple[Path, dict[str, Any]]) -> None:
    """Updates keep bytes, numbers and origins, leases their epochs, peers what they acknowledged."""
    path, truth = old
    Store(path).close()
    updates = asked(path, "select seq, conversation, origin, data from updates order by seq")
    assert [[*row, hashlib.sha256(data).hexdigest()] for *row, data in updates] == truth["updates"]
    assert asked(path, "select * from leases order by name") == [tuple(row) for row in truth["leases"]]
    expected = [(*row, 0) for row in truth["outbox"]]
    assert asked(path, "select * from outbox order by peer, conversation") == expected


def test_a_migration_is_recorded(old: tuple[Path, dict[str, Any]]) -> None:
    """Every migration stands in the record, once and in order; the file can shrink from now on."""
    path, _ = old
    Store(path).close()
    assert asked(path, "select name from _sqlite_migrations order by id") == [(name,) for name in NAMES]
    assert asked(path, "pragma user_version") == [(len(NAMES),)]
    assert (asked(path, "pragma auto_vacuum"), asked(path, "pragma integrity_check")) == ([(2,)], [("ok",)])


def test_writing_goes_on(old: tuple[Path, dict[str, Any]]) -> None:
    """What is appended to an old store gets the next number, and is found with what was there."""
    path, truth = old
    last = max(row[0] for row in truth["updates"])
    with Store(path) as store:
        for conversation_id, said in truth["conversations"].items():
            store.open(conversation_id).append("user", "quite new")
            assert store.open(conversation_id).last_seq > last
            log = store.open(conversation_id).log()
            assert texts(log.messages) == [*said["logs"]["main"]["texts"], "quite new"]
        assert len(store.search("quite new")) == len(truth["conversations"])
        assert store.engine.acquire_lease("other", "executor-b", at_ms=10**13, until_ms=10**13) == 2


def test_what_was_deleted_stays_deleted(old: tuple[Path, dict[str, Any]]) -> None:
    """A conversation of an old store is deleted as one of this version, and stays so."""
    path, truth = old
    gone, *others = sorted(truth["conversations"])
    with Store(path) as store:
        store.delete(gone)
        assert list(store.check()) == []
    with Store(path) as store:
        assert {info.id for info in store.list()} == set(others)
        with pytest.raises(ConversationDeleted):
            store.open(gone)
        assert all(
            read_back(store)[other]["logs"] == truth["conversations"][other]["logs"] for other in others
        )


def test_opening_again_changes_nothing(old: tuple[Path, dict[str, Any]]) -> None:
    """A store that was migrated is opened as it is, byte for byte."""
    path, _ = old
    Store(path).close()
    before = path.read_bytes()
    Store(path).close()
    assert path.read_bytes() == before


def test_reading_alone_does_not_migrate(old: tuple[Path, dict[str, Any]]) -> None:
    """Opened for reading, an old store says what to do, and stays as it is."""
    path, _ = old
    before = path.read_bytes()
    with pytest.raises(StoreReadOnly, match="earlier version: opened for writing once, it is upgraded"):
        Store(path, read_only=True)
    assert path.read_bytes() == before


def unarchive(path: Path, *others: str) -> None:
    """Make a store what it was before its list knew who was archived, and do some more to it."""
    connection = sqlite3.connect(path)
    with connection:
        for statement in (
            "alter table conversations drop column archived",
            "delete from _sqlite_migrations where name = 'm006_archived'",
            "pragma user_version = 5",
            *others,
        ):
            connection.execute(statement)
    connection.close()


def make_archived(path: Path) -> dict[str, bool]:
    """Make a store with a conversation that is archived and one that is not."""
    with Store(path) as store:
        kept, away = store.create("kept"), store.create("away")
        away.archive()
        for conversation in (kept, away):
            conversation.append("user", "hello")
        store.reindex()
    return {kept.id: False, away.id: True}


def test_a_list_from_before_learns_who_is_archived(tmp_path: Path) -> None:
    """The stored indexes say it: nothing need be opened, and the check finds nothing wrong."""
    path = tmp_path / "chats.db"
    archived = make_archived(path)
    unarchive(path)
    with Store(path) as store:
        assert {info.id: info.is_archived for info in store.list()} == archived
        assert list(store.check()) == []


@pytest.mark.parametrize(
    "damage", ["delete from indexes", "drop table indexes", "update indexes set roots = 'rubbish'"]
)
def test_without_an_index_it_is_known_when_opened(tmp_path: Path, damage: str) -> None:
    """An index that is damaged or gone keeps no store from being upgraded."""
    path = tmp_path / "chats.db"
    archived = make_archived(path)
    unarchive(path, damage)
    with Store(path) as store:
        for conversation in archived:
            assert len(store.open(conversation).log().messages) == 1
        assert {info.id: info.is_archived for info in store.list()} == archived


# A migration that fails


def breaks_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """Have one statement of the migrations fail, by its number."""
    run = Database.execute
    count = 0

    def execute(db: Database, sql: str, parameters: Any = None) -> sqlite3.Cursor:
        nonlocal count
        count += 1
        if count == number:
            raise error
        return run(db, sql, parameters)

    monkeypatch.setattr(Database, "execute", execute)


def test_a_migration_that_fails_anywhere_leaves_the_old_version(
    old: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever statement fails or is interrupted, all is of one version or the next; a retry succeeds."""
    path, truth = old
    whole = path.read_bytes()
    before = contents(path)
    stages = set()
    number, has_failed = 0, True
    while has_failed:
        number += 1
        path.write_bytes(whole)
        with monkeypatch.context() as patch:
            breaks_at(patch, number, (KeyboardInterrupt(), sqlite3.OperationalError("no"))[number % 2])
            try:
                Store(path).close()
                has_failed = False
            except (StoreError, KeyboardInterrupt):
                pass
        stage = asked(path, "select name from _sqlite_migrations order by id")
        stages.add(len(stage))
        if len(stage) == 1:
            assert contents(path) == before
        with Store(path) as store:
            assert read_back(store) == truth["conversations"]
    # It failed in each migration, and after the last one succeeded.
    assert (stages, number > 15) == ({1, 2, 3, 4, 5, 6}, True)


@pytest.mark.parametrize("pages", [0, 1, 4, 9, 13])
def test_a_disk_that_fills_up_leaves_the_old_version(
    old: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """Without the room to migrate the error says so; with room again nothing is missing."""
    path, truth = old
    connect = sqlite3.connect

    def full(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        count = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count = {count + pages}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", full)
        with pytest.raises(StoreFull):
            Store(path)
    with Store(path) as store:
        assert read_back(store) == truth["conversations"]
        assert sqlite_of(store).execute("pragma integrity_check").fetchall() == [("ok",)]


def test_a_damaged_old_store_is_recovered_into_a_new_one(
    old: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Recovery reads old files too, so that damage never has to be migrated first."""
    path, truth = old
    recovery = recover(path, tmp_path / "new.db")
    assert (recovery.recovered["updates"], recovery.lost) == (len(truth["updates"]), [])
    with Store(tmp_path / "new.db") as store:
        assert (store.device, read_back(store)) == (truth["device"], truth["conversations"])
        assert list(store.check()) == []
    leases = asked(tmp_path / "new.db", "select * from leases order by name")
    assert leases == [tuple(row) for row in truth["leases"]]
