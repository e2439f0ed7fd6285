"""Keep Python from looking for garbage while very much is made that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
