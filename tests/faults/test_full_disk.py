"""A disk that fills up, again and again: nothing acknowledged is lost, and with room it goes on."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crdt_conv import Store, StoreError
from tests.faults.hindrances import fill_disk
from tests.faults.runs import Children, check, seeds
from tests.replicas import texts

PAGE = 4096
ROOM = range(14)
"""So many pages are left on the disk when a store is opened; it takes about ten."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a disk of 16 MB that is there for one test."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    # What a failing test leaves open must not keep the disk mounted.
    gc.collect()
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("seed", seeds())
def test_a_disk_that_is_full_now_and_then_loses_nothing_acknowledged(
    children: Children, disk: Path, seed: int
) -> None:
    """Each time the disk is full the call says so and did nothing; with room the same store goes on."""
    db = disk / "chats.db"
    run = children.run(db, seed, "full", disk / "filler", seed)
    assert run.statements, f"seed {seed}: ended by {run.code}"
    assert set(run.errors) == {"StoreFull"}, f"seed {seed}: {run.errors}"
    (disk / "filler").unlink(missing_ok=True)
    check(db, run, f"seed {seed}, now and then a full disk")


@pytest.mark.parametrize("seed", seeds())
def test_a_quota_that_is_used_up_now_and_then_loses_nothing_acknowledged(
    children: Children, tmp_path: Path, seed: int
) -> None:
    """Each time no file may grow the call says so and did nothing; with room the same store goes on."""
    db = tmp_path / "chats.db"
    run = children.run(db, seed, "quota", seed)
    assert run.statements, f"seed {seed}: ended by {run.code}"
    assert set(run.errors) <= {"StoreError", "StoreFull"}, f"seed {seed}: {run.errors}"
    assert run.errors, f"seed {seed}: nothing was refused"
    check(db, run, f"seed {seed}, now and then a quota")


def error_of_opening(db: Path, pages: int) -> str:
    """Open and close a store on a disk with so much room; returns what came of it, and makes room again."""
    filler = db.with_name("filler")
    fill_disk(filler, pages * PAGE)
    try:
        Store(db).close()
    except (StoreError, OSError) as error:
        return type(error).__name__
    finally:
        filler.unlink()
    return "none"


def test_a_store_that_found_no_room_opens_once_there_is_some(disk: Path) -> None:
    """With however little room it was opened before: what it held is there, and more can be written."""
    db, expected = disk / "chats.db", ["0"]
    with Store(db) as store:
        conversation_id = store.create("Trip").id
        store.open(conversation_id).append("user", "0")
    for pages in ROOM:
        error_of_opening(db, pages)
        with Store(db) as store:
            conversation = store.open(conversation_id)
            assert texts(conversation.log().messages) == expected
            expected.append(conversation.append("user", f"{pages} more").text)


def test_a_store_that_found_no_room_to_be_made_is_made_once_there_is_some(disk: Path) -> None:
    """With however little room it was made before: it is made now, and can be written to."""
    for pages in ROOM:
        error_of_opening(disk / f"{pages}.db", pages)
        with Store(disk / f"{pages}.db") as store:
            store.create("Trip").append("user", "kept")


@pytest.mark.parametrize("is_there", [True, False], ids=["open", "make"])
def test_a_disk_too_full_to_open_a_store_is_named(disk: Path, is_there: bool) -> None:  # noqa: FBT001
    """With however little room a store is opened or made, or the disk is called full."""
    errors = {}
    for pages in ROOM:
        if is_there:
            Store(disk / f"{pages}.db").close()
        errors[pages] = error_of_opening(disk / f"{pages}.db", pages)
    assert {pages: error for pages, error in errors.items() if error not in {"none", "StoreFull"}} == {}


def test_a_store_that_does_not_open_leaves_no_file_open(disk: Path) -> None:
    """Where a store could not be opened none of its files stays open."""
    gc.collect()
    fill_disk(disk / "filler", 2 * PAGE)
    with pytest.raises(StoreError):
        Store(disk / "chats.db")
    files = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    assert [file for file in files if file.startswith(str(disk))] == []
