"""When Python looks for garbage, and that what was freed goes back to the system."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

MUCH_BYTES: Final = 1 << 20


@contextmanager
def collecting_later(size: int) -> Iterator[None]:
    """
    Look for cycles of garbage only behind this, where so many bytes are read.

    Python would look through all that is there each time that it has grown by a quarter, and find nothing: a
    third of the time of reading a large update.
    """
    if size < MUCH_BYTES or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def give_back() -> None:
    """
    Give freed memory back to the system, where the C library would keep it.

    glibc keeps what lies below anything that is still in use, for each thread: after a Y.Doc of a long
    conversation nine tenths of what it took.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], Any] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        # Not glibc, which alone has it.
        return None
