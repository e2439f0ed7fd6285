"""
A disk beneath the real SQLite: it may be full or fail an fsync, and keeps after a fault what a real one does.

A VFS (https://www.sqlite.org/vfs.html) around SQLite's own, for this process. Writes go through to the real
file, so that SQLite reads what it wrote; beside it stands what the file holds for sure, since it was synced,
and what was written after that. A *kill* leaves what was written, the last write perhaps torn. A loss of
*power* leaves what was synced, and of each later write all, nothing, or some sectors. An fsync that fails
leaves its writes to chance for good: Linux marks them clean (https://lwn.net/Articles/752063/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, Literal

from tests.faults.simulation.sqlite_vfs import Vfs

SECTOR: Final = 512
OK: Final = 0
FULL: Final = 13
FSYNC_FAILED: Final = 10 | 4 << 8

Loss = Literal["kill", "power"]
Image = Mapping[str, bytes]
"""Files by their name."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write that was not synced yet; with no data it is a truncation."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        """Do it."""
        if self.data is None:
            del content[self.offset :]
            return
        end = self.offset + len(self.data)
        content.extend(bytes(max(0, end - len(content))))
        content[self.offset : end] = self.data


@dataclass
class File:
    """One file: as a process sees it, and as it is sure to be after a loss of power."""

    written: bytearray
    durable: bytearray
    unsynced: list[Write] = field(default_factory=list)

    def after(self, loss: Loss, random: Random) -> bytes:
        """Return what is left of it."""
        if loss == "kill":
            return bytes(self.written)
        content = bytearray(self.durable)
        for write in self.unsynced:
            kept = random.random()
            if kept < 0.4:
                write.apply(content)
            elif kept < 0.6 and write.data is not None:
                sectors = random.randrange(len(write.data) // SECTOR + 1)
                Write(write.offset, write.data[: sectors * SECTOR]).apply(content)
        return bytes(content)


class Disk:
    """The folder of one process. Every operation is counted, and the disk may fail at each."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.folder = folder
        self.version = 0
        """Rises whenever more is durable."""
        self.room: int | None = None
        """How many bytes files may still grow, where the disk is about to be full."""
        self.fails_sync = False
        self.remains: Image | None = None
        """What is left, once the fault has come."""
        self._random = random
        self._files: dict[str, File] = {}
        self._count = 0
        self._crash: tuple[int, Loss, Callable[[], None]] | None = None

    def put(self, image: Image) -> None:
        """Begin with files, all of them durable."""
        for name, content in image.items():
            (self.folder / name).write_bytes(content)

    def crash_after(self, operations: int, loss: Loss, told: Callable[[], None]) -> None:
        """Lose the process, or the power, at a later write or sync; ``told`` is called in that moment."""
        self._crash = (self._count + operations, loss, told)

    def crash(self, loss: Loss) -> None:
        """Lose the process, or the power, now, unless it is lost already."""
        if self.remains is None:
            # One draw, however many writes there were.
            drawn = self._random.random()
            self.remains = {
                name: file.after(loss, Random(f"{name} {drawn}")) for name, file in self._files.items()
            }

    def durable(self) -> Image:
        """Return what is there after a loss of power for sure."""
        return {name: bytes(file.durable) for name, file in self._files.items()}

    # What SQLite asks

    def opened(self, name: str) -> None:
        """A file is opened, or made."""
        if name not in self._files:
            path = self.folder / name
            content = path.read_bytes() if path.exists() else b""
            self._files[name] = File(bytearray(content), bytearray(content))

    def deleted(self, name: str) -> None:
        """A file is gone."""
        self._files.pop(name, None)
        self.version += 1

    def write(self, name: str, offset: int, data: bytes) -> tuple[int, bytes]:
        """Return a result code, and what of the data is to be written."""
        file = self._files[name]
        grows = max(0, offset + len(data) - len(file.written))
        if self.remains is None and self.room is not None and grows > self.room:
            return FULL, b""
        if self.room is not None:
            self.room -= grows
        if self._comes():
            torn = Write(offset, data[: int(self._random.random() * (len(data) + 1))])
            torn.apply(file.written)
            file.unsynced.append(torn)
            self._fall()
        self._do(file, Write(offset, data))
        return OK, data

    def truncate(self, name: str, size: int) -> int:
        """A file is cut off."""
        if self._comes():
            self._fall()
        self._do(self._files[name], Write(size, None))
        return OK

    def sync(self, name: str) -> int:
        """What was written is to be durable."""
        file = self._files[name]
        if self._comes():
            self._fall()
        if self.remains is None and self.fails_sync:
            file.unsynced.clear()
            return FSYNC_FAILED
        for write in file.unsynced:
            write.apply(file.durable)
        file.unsynced.clear()
        self.version += 1
        return OK

    @staticmethod
    def _do(file: File, write: Write) -> None:
        write.apply(file.written)
        file.unsynced.append(write)

    def _comes(self) -> bool:
        self._count += 1
        return self._crash is not None and self._count >= self._crash[0]

    def _fall(self) -> None:
        assert self._crash is not None
        _, loss, told = self._crash
        self._crash = None
        if self.remains is None:
            self.crash(loss)
            told()


class Disks:
    """All disks of this process, by their folders."""

    def __init__(self) -> None:
        self._disks: dict[str, Disk] = {}

    def add(self, disk: Disk) -> None:
        """Put a disk beneath a folder."""
        self._disks[str(disk.folder)] = disk

    def find(self, path: str) -> tuple[Disk, str] | None:
        """Return the disk that a file is on, and the file's name."""
        folder, _, name = path.rpartition("/")
        disk = self._disks.get(folder)
        return None if disk is None else (disk, name)


@contextmanager
def simulated_disks() -> Iterator[Disks]:
    """Have SQLite's files of some folders on simulated disks, until this ends."""
    disks = Disks()
    with Vfs(disks.find).registered():
        yield disks
