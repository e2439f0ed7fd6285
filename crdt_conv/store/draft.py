"""A new file in its place: whole under its name and on disk, or not there at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from crdt_conv.errors import StoreError, StoreFull, StoreMissing, StoreReadOnly
from crdt_conv.ids import new_id

_BESIDE: Final = ("", "-journal", "-wal", "-shm", ".lock", ".owner")
"""What stands beside a store's file, by the end of its name."""

_BY_ERRNO: Final[Mapping[int, type[StoreError]]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), StoreFull),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), StoreReadOnly),
}


@contextmanager
def draft_of(target: Path, source: Path) -> Iterator[Path]:
    """
    Yield a name beside ``target``, which becomes it at the end; after an error nothing of it is left.

    Raises:
        StoreError: There is such a file, or it can't be made.
    """
    _check_free(target, source)
    draft = target.with_name(f".{new_id()}.part")
    try:
        with on_disk(target):
            # Nobody else reads it before it has the rights of the store that it is made from.
            draft.touch(0o600, exist_ok=False)
        yield draft
        with on_disk(target):
            if source.exists():
                draft.chmod(stat.S_IMODE(source.stat().st_mode) | 0o600)
            _sync(draft)
            _check_free(target, source)
            draft.rename(target)
            _sync(target.parent)
    except StoreFull as error:
        raise StoreFull(f"{target}: the disk is full; make room and try again") from error
    finally:
        for end in _BESIDE:
            with suppress(OSError):
                draft.with_name(draft.name + end).unlink()


def _check_free(target: Path, source: Path) -> None:
    if not target.parent.is_dir():
        raise StoreMissing(f"there is no folder {target.parent}: make it first")
    resolved = source.resolve()
    if target.resolve() in {resolved.with_name(resolved.name + end) for end in _BESIDE}:
        raise StoreError(f"{target} is the store itself: choose another name")
    # Also a link that leads nowhere: renaming would replace it.
    if target.exists() or target.is_symlink():
        raise StoreError(f"{target} is there already: choose another name, or remove it first")


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # A folder can't be opened there.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Map the errors of a disk."""
    try:
        yield
    except OSError as error:
        kind = _BY_ERRNO.get(error.errno or 0, StoreError)
        raise kind(f"{path}: {error.strerror}: make room, or look at the disk and its rights") from error
