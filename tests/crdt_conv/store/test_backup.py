"""Copies of a store: of one moment, whole or not there, while writes go on."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import (
    MemoryEngine,
    Store,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
)
from crdt_conv.store.sqlite import backup
from tests.crdt_conv.store.wholes import (
    Whole,
    files,
    rows_of,
)
from tests.replicas import texts


@pytest.fixture
def path(whole: Whole, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copy(whole.path, tmp_path / "chats.db"))


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
    monkeypatch.setattr(backup, "STEP", 3)
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
    monkeypatch.setattr(backup, "STEP", 3)
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
from crdt_conv.store.sqlite import backup
backup.STEP = 3
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
