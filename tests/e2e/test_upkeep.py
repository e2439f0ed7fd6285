"""``syncd compact``, ``backup``, ``check`` and ``recover`` as real programs, with a daemon and without."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import Store
from tests.e2e.programs import daemon, environment
from tests.e2e.test_operations import syncd
from tests.replicas import sqlite_of, texts


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Return a store with one conversation of 100 messages, whose log is not compacted."""
    path = tmp_path / "chats.db"
    with Store(path) as store:
        conversation = store.create("Trip", conversation_id="c")
        for number in range(100):
            conversation.append("user", f"message {number}")
    return path


@contextmanager
def held(db: Path, *, by_daemon: bool) -> Iterator[None]:
    """Have a daemon hold the store, or nobody."""
    with daemon(db, "--no-executor") if by_daemon else nullcontext():
        yield


def shown(*arguments: str, code: int = 0) -> Any:
    """Return what ``syncd`` prints as JSON."""
    done = syncd(*arguments, "--json")
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def messages_of(path: Path) -> list[str]:
    """Return what a store's conversation says."""
    with Store(path, read_only=True) as store:
        return texts(store.open("c").log().messages)


@pytest.mark.parametrize("by_daemon", [False, True])
def test_compact_replaces_the_log(db: Path, *, by_daemon: bool) -> None:
    """The same result, whoever holds the store; and the conversation is what it was."""
    before = messages_of(db)
    with held(db, by_daemon=by_daemon):
        done = shown("compact", "--db", str(db))
        again = syncd("compact", "--db", str(db))
    (each,) = done["conversations"]
    assert (each["id"], each["reason"]) == ("c", "")
    assert each["after"] < each["before"]
    with Store(db, read_only=True) as store:
        assert store.engine.size(store.open("c").id).rows == 0
    assert again.stdout.startswith("compacted 0 of 1 conversation: ")
    assert messages_of(db) == before


@pytest.mark.parametrize("by_daemon", [False, True])
def test_a_backup_is_a_whole_store(db: Path, tmp_path: Path, *, by_daemon: bool) -> None:
    """It is checked, and says the same; what stands under its name is never replaced."""
    copy = tmp_path / "copy.db"
    with held(db, by_daemon=by_daemon):
        assert shown("backup", str(copy), "--db", str(db)) == {
            "file": str(copy),
            "bytes": copy.stat().st_size,
        }
        again = syncd("backup", str(copy), "--db", str(db))
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    assert shown("check", "--db", str(copy)) == {"ok": True, "damage": [], "reindexed": False}
    assert messages_of(copy) == messages_of(db)


def spoil(db: Path, statement: str) -> None:
    """Change bytes in a store that nobody looks after."""
    with Store(db) as store:
        sqlite_of(store).execute(statement)


@pytest.mark.parametrize("by_daemon", [False, True])
def test_check_names_what_is_damaged(db: Path, *, by_daemon: bool) -> None:
    """Exit code 1, the update's number, and what to do about it, on standard error."""
    spoil(db, "update updates set data = zeroblob(9) where seq = 7")
    with held(db, by_daemon=by_daemon):
        found = shown("check", "--db", str(db), code=1)
        told = syncd("check", "--db", str(db))
    first = found["damage"][0]
    assert (first["what"], first["conversation"], first["key"]) == ("update", "c", "7")
    assert "syncd recover" in told.stderr


def test_recover_saves_the_rest(db: Path, tmp_path: Path) -> None:
    """All but the damaged update is in the new store, and what is lost is named; the old one is as it was."""
    spoil(db, "update updates set data = zeroblob(9) where seq = 7")
    was, rescued = db.read_bytes(), tmp_path / "rescued.db"
    told = shown("recover", str(rescued), "--db", str(db), code=1)
    assert [(each["what"], each["key"]) for each in told["lost"]] == [("update", "7")]
    assert told["recovered"]["updates"] == 100
    assert db.read_bytes() == was
    assert shown("check", "--db", str(rescued))["ok"]


def test_a_damaged_index_is_made_anew(db: Path) -> None:
    """``check --reindex`` mends what is derived; then all is well."""
    spoil(db, "update messages set role = 'tool' where place = 3")
    assert shown("check", "--db", str(db), "--reindex", code=1)["reindexed"]
    assert shown("check", "--db", str(db))["ok"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "--db", "nowhere.db"], "there is no store"),
        (["backup", "copy.db", "--db", "nowhere.db"], "there is no store"),
        (["recover", "copy.db", "--db", "nowhere.db"], "there is no store"),
        (["compact", "--db", "no/folder/chats.db"], "there is no folder"),
    ],
)
def test_what_is_not_there_is_one_clear_line(arguments: list[str], says: str) -> None:
    """Exit code 1, no traceback, nothing made."""
    done = syncd(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_leaves_no_half_a_backup(db: Path, tmp_path: Path) -> None:
    """Stopped in its middle: exit code 130, and nothing of it in the folder."""
    with Store(db) as store:
        for number in range(6):
            store.put_blob(number.to_bytes() * 32_000_000)
    folder = tmp_path / "backups"
    folder.mkdir()
    command = [sys.executable, "-m", "syncd", "backup", str(folder / "copy.db"), "--db", str(db)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)
    while not any(folder.glob(".*.part")) and process.poll() is None:
        pass
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, b"")
    assert list(folder.iterdir()) == []
