"""What an act takes."""

from __future__ import annotations

import time
from collections.abc import Callable


def took_ms(act: Callable[[], object]) -> float:
    """Return what an act takes, in milliseconds."""
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000
