"""
A hybrid logical clock in milliseconds, for ``created``.

It is never behind anything the replica has seen, so that what answers a
message also sorts after it; it is never trusted for ordering the log.
"""

from __future__ import annotations

from collections.abc import Callable

from crdt_conv.ids import now_ms

LATEST_MS = 2**53 - 1


class HybridClock:
    """Wall time, pushed ahead by what was seen."""

    def __init__(self, wall_ms: Callable[[], int] = now_ms) -> None:
        self._wall_ms = wall_ms
        self._seen_ms = -1

    def see(self, created_ms: int) -> None:
        """Never give a time at or before ``created_ms`` again."""
        self._seen_ms = max(self._seen_ms, created_ms)

    def next(self) -> int:
        """Return a time after everything seen, and see it."""
        # At the end of the range ids still differ; only the tie-break is coarser.
        self._seen_ms = min(max(self._wall_ms(), self._seen_ms + 1), LATEST_MS)
        return self._seen_ms
