"""A disk that fails an fsync, and then loses its power: what was acknowledged afterwards is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest

from crdt_conv import Conversation, Store, StoreError
from tests.faults.simulation.disk import Disk, Disks, simulated_disks
from tests.faults.simulation.sqlite_vfs import NotSupportedError
from tests.replicas import sqlite_of, texts

FILE = "chats.db"


@pytest.fixture
def disks() -> Iterator[Disks]:
    """Return the way to put simulated disks beneath folders."""
    try:
        with simulated_disks() as disks:
            yield disks
    except NotSupportedError as error:
        pytest.skip(str(error))


def disk_in(folder: Path, disks: Disks) -> Disk:
    """Return a disk beneath a new folder."""
    folder.mkdir()
    disk = Disk(folder.resolve(), Random(0))
    disks.add(disk)
    return disk


def store_index(conversation: Conversation) -> None:
    """Write what is derived, which waits for no fsync, unless the log begins anew with it."""
    with suppress(StoreError):
        conversation.save_index()


def write(conversation: Conversation) -> None:
    """Write what is refused."""
    store_index(conversation)
    with pytest.raises(StoreError):
        conversation.append("user", "refused")


def compact(conversation: Conversation) -> None:
    """Make a snapshot."""
    store_index(conversation)
    with suppress(StoreError):
        conversation._log.compact(conversation.id)  # type: ignore[attr-defined]


@pytest.mark.parametrize("pages", [1, 1000])
@pytest.mark.parametrize("act", [store_index, write, compact])
def test_what_is_acknowledged_behind_an_fsync_that_failed_outlives_the_power(
    tmp_path: Path, disks: Disks, act: Callable[[Conversation], None], pages: int
) -> None:
    """Whatever it failed for: what is written once the disk is well again is on it."""
    disk, after = disk_in(tmp_path / "before", disks), disk_in(tmp_path / "after", disks)
    with closing(Store(disk.folder / FILE)) as store:
        sqlite_of(store).execute(f"pragma wal_autocheckpoint = {pages}")
        conversation = store.create(conversation_id="c")
        conversation.append("user", "before")
        disk.fails_sync = True
        act(conversation)
        disk.fails_sync = False
        conversation.append("user", "behind")
        after.put(disk.durable())
    with Store(after.folder / FILE) as left:
        assert texts(left.open("c").log().messages)[-1] == "behind"
        assert "before" in texts(left.open("c").log().messages)


def test_nothing_is_written_while_what_failed_can_t_be_made_good(tmp_path: Path, disks: Disks) -> None:
    """As long as the disk fails each write is refused; with a disk that is well the next one is taken."""
    disk = disk_in(tmp_path / "disk", disks)
    with closing(Store(disk.folder / FILE)) as store:
        conversation = store.create()
        disk.fails_sync = True
        for _ in range(3):
            with pytest.raises(StoreError):
                conversation.append("user", "refused")
        disk.fails_sync = False
        conversation.append("user", "taken")
        assert texts(conversation.log().messages) == ["taken"]
