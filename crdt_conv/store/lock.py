"""
One writer a store: a lock file, and beside it who holds it.

The lock is the operating system's, so it goes with its process however that
ends; the owner's file is only for people and for finding the daemon.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from filelock import FileLock, Timeout

from crdt_conv.errors import StoreError, StoreFull, StoreLocked, StoreMissing, StoreOwner, StoreReadOnly


class WriterLock:
    """The right to write to one store."""

    def __init__(self, path: Path, program: str) -> None:
        """
        Take the lock.

        Raises:
            StoreLocked: Another process has it.
            StoreMissing: There is no such folder.
            StoreReadOnly: The folder can't be written.
        """
        if not path.parent.is_dir():
            # The lock file's library would make the folder, and hide a slip of the pen.
            raise StoreMissing(f"there is no folder {path.parent}: make it first")
        # Two names of one file are one store.
        path = path.resolve()
        self._path = path
        self._program = program
        self._lock = FileLock(f"{path}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise StoreLocked(path, read_owner(path)) from None
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            self.publish("")
        except OSError as error:
            self.release()
            raise unwritable(path, error) from error

    def publish(self, url: str) -> None:
        """Tell other processes where to reach the holder."""
        owner = {"pid": os.getpid(), "program": self._program, "url": url}
        file = _owner_file(self._path)
        draft = file.with_name(f"{file.name}.new")
        try:
            draft.write_text(json.dumps(owner))
            draft.replace(file)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def release(self) -> None:
        """Give the lock back."""
        if self._lock.is_locked:
            _owner_file(self._path).unlink(missing_ok=True)
            self._lock.release()


def unwritable(path: Path, error: OSError) -> StoreError:
    """Return what people are told where the system refuses to write beside a store."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreFull(f"{path}: the disk is full; make room and try again")
    return StoreReadOnly(f"can't write beside {path}: {error.strerror}")


def read_owner(path: Path) -> StoreOwner | None:
    """Return who said last that it writes to the store, if anybody did."""
    try:
        owner = json.loads(_owner_file(path).read_text())
        return StoreOwner(int(owner["pid"]), str(owner["program"]), str(owner["url"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _owner_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner")
