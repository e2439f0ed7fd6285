"""One writer a store, by whatever name the file is reached, and however the writer ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crdt_conv import Store, StoreLocked, StoreOwner
from crdt_conv.store.lock import WriterLock, read_owner

HOLDER = """
import sys
from crdt_conv import Store
store = Store(sys.argv[1], program="the holder")
store.publish("http://127.0.0.1:7")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store goes."""
    return tmp_path / "chats.db"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return another process that holds the store, ended here if the test does not."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_holder_is_named_with_its_address(path: Path, holder: subprocess.Popen[str]) -> None:
    """Who finds the store locked can call its holder."""
    with pytest.raises(StoreLocked) as caught:
        Store(path)
    assert caught.value.owner == StoreOwner(holder.pid, "the holder", "http://127.0.0.1:7")


def test_the_lock_goes_with_a_killed_process(path: Path, holder: subprocess.Popen[str]) -> None:
    """After SIGKILL the next one gets in at once, though the holder left its name behind."""
    holder.kill()
    holder.wait()
    assert read_owner(path) is not None
    with Store(path, program="the next"):
        assert read_owner(path) == StoreOwner(os.getpid(), "the next")
    assert read_owner(path) is None


def test_one_process_is_one_writer_too(path: Path) -> None:
    """A store that is open here can't be opened here again, and can after it was closed."""
    with Store(path), pytest.raises(StoreLocked, match=str(os.getpid())):
        Store(path)
    Store(path).close()


def test_a_failed_opening_gives_the_lock_back(path: Path) -> None:
    """A file that can't be opened is not locked by the attempt."""
    path.write_bytes(b"no database " * 100)
    for _ in range(2):
        with pytest.raises(Exception, match="no SQLite database"):
            Store(path)


def test_closing_twice_takes_no_other_s_lock(path: Path) -> None:
    """Who has closed its store can't give back a lock that another has by now."""
    first = Store(path)
    first.close()
    with Store(path) as second:
        first.close()
        with pytest.raises(StoreLocked):
            Store(path)
        assert read_owner(path) is not None
        second.create("still mine")


def reached(path: Path, how: str) -> Path:
    """Return another way to the same file."""
    if how == "parent":
        return path.parent / "x" / ".." / path.name
    if how == "linked folder":
        folder = path.parent / "folder"
        folder.symlink_to(path.parent)
        return folder / path.name
    link = path.parent / "link.db"
    link.symlink_to(path)
    return link


@pytest.mark.parametrize(
    "how",
    [
        "parent",
        "linked folder",
        "linked file",
    ],
)
def test_another_way_to_the_file_is_the_same_store(path: Path, how: str) -> None:
    """Links and dots lead to the same lock."""
    (path.parent / "x").mkdir()
    with Store(path), pytest.raises(StoreLocked):
        Store(reached(path, how)).close()


@pytest.mark.parametrize("rubbish", ["", "{", "[]", '{"pid": "x", "program": "p", "url": ""}', '{"pid": 1}'])
def test_an_owner_file_is_not_trusted(path: Path, rubbish: str) -> None:
    """An owner's file of the wrong shape names nobody; the lock counts all the same."""
    lock = WriterLock(path, "one")
    path.with_name("chats.db.owner").write_text(rubbish)
    with pytest.raises(StoreLocked, match="another process") as caught:
        WriterLock(path, "two")
    assert caught.value.owner is None
    lock.release()
