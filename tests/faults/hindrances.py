"""
The faults, as they are made in the process that writes.

==================  ===========================================================================
``none``            nothing is in the way
``kill N``          SIGKILL when SQLite is about to run the N-th statement
``cut BYTES``       killed in the middle of a write, where a file would get larger than this
``quota SEED``      no file may grow past a limit, now and then, until a call was refused
``full FILE SEED``  the same by a file that takes up all of a small disk
``sync N``          from the N-th step on the disk answers every fsync with an error
==================  ===========================================================================
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.seccomp import refuse_fsync


class Hindrance:
    """What is in the way; this one is nothing."""

    kill_at = 0
    """The number of the statement at which the process dies; none, where it is 0."""

    def before(self, step: int, db: Path) -> None:
        """Come into the way, perhaps, before a step."""

    def relieve(self) -> bool:
        """Get out of the way, where this kind can; returns whether it did."""
        return False


class Kill(Hindrance):
    """The process ends at a statement."""

    def __init__(self, statement: str) -> None:
        self.kill_at = int(statement)


class Cut(Hindrance):
    """The process ends in the middle of a write: what is within the limit is written, then comes SIGXFSZ."""

    def __init__(self, size: str) -> None:
        # Python ignores it from its start.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit_files(int(size))


class Hurdle(Hindrance):
    """Something that comes and goes; ``relieve`` ends it for a few steps."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)
        self._next = self._random.randrange(6)

    def before(self, step: int, db: Path) -> None:
        """Leave a little room, or none, so that a write ends somewhere in the middle."""
        if step >= self._next:
            self.hinder(db, self._random)

    def relieve(self) -> bool:
        """Make room; the next shortage is not far."""
        self.make_room()
        self._next += self._random.randrange(1, 8)
        return True

    def hinder(self, db: Path, random: Random) -> None:
        """Leave little."""

    def make_room(self) -> None:
        """Leave all."""


class Quota(Hurdle):
    """No file grows past a limit."""

    def hinder(self, db: Path, random: Random) -> None:
        """Set the limit somewhere in the files, or a little behind them."""
        largest = max(file.stat().st_size for file in db.parent.iterdir())
        limit_files(random.randrange(largest + 20_000))

    def make_room(self) -> None:
        """Take the limit away."""
        limit_files(None)


class Filler(Hurdle):
    """A disk that another file fills."""

    def __init__(self, file: str, seed: str) -> None:
        super().__init__(seed)
        self._file = Path(file)

    def hinder(self, db: Path, random: Random) -> None:
        """Take all but a few bytes; before the next step what is left may be taken, too."""
        fill_disk(self._file, random.choice([0, 1, random.randrange(60_000)]))

    def make_room(self) -> None:
        """Remove the file."""
        self._file.unlink(missing_ok=True)


class Unsynced(Hindrance):
    """A disk that takes writes and fails to make them durable."""

    def __init__(self, step: str) -> None:
        self._step = int(step)

    def before(self, step: int, db: Path) -> None:
        """Let every fsync fail from here on."""
        if step == self._step:
            refuse_fsync()


def limit_files(size: int | None) -> None:
    """Let no file of this process grow past a size; ``None`` takes the limit away."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if size is None else size, most))


def fill_disk(file: Path, room: int) -> None:
    """Let a file take all but some bytes of the disk it is on."""
    with file.open("ab") as filler:
        disk = os.statvfs(file)
        size = disk.f_bavail * disk.f_frsize - room
        if size > 0:
            os.posix_fallocate(filler.fileno(), filler.tell(), size)


KINDS = {
    "none": Hindrance,
    "kill": Kill,
    "cut": Cut,
    "quota": Quota,
    "full": Filler,
    "sync": Unsynced,
}


class Statements:
    """Stands before ``sqlite3.connect`` and counts what every connection to a file is about to run."""

    def __init__(self, kill_at: int, autocheckpoint: int) -> None:
        self.count = 0
        self._counter = count(1)
        self._kill_at = kill_at
        self._autocheckpoint = autocheckpoint
        self._connect = sqlite3.connect

    def connect(self, database: str, *args: Any, **options: Any) -> sqlite3.Connection:
        """Do what ``sqlite3.connect`` does, and listen."""
        connection: sqlite3.Connection = self._connect(database, *args, **options)
        if database != ":memory:":
            # Pages, so that a short run has checkpoints, too.
            connection.execute(f"pragma wal_autocheckpoint = {self._autocheckpoint}")
            connection.set_trace_callback(self._on_statement)
        return connection

    def _on_statement(self, _statement: str) -> None:
        self.count = next(self._counter)
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
