"""How much one socket may send: a second's worth at once, and then so much a second."""

from __future__ import annotations


class Throttle:
    """Two token buckets, one of bytes and one of frames. Has no clock of its own."""

    __slots__ = ("_bytes", "_bytes_per_s", "_frames", "_frames_per_s", "_seen_s")

    def __init__(self, bytes_per_s: float, frames_per_s: float) -> None:
        self._bytes_per_s = self._bytes = bytes_per_s
        self._frames_per_s = self._frames = frames_per_s
        self._seen_s = 0.0

    def take(self, size: int, now_s: float) -> float:
        """
        Count a frame of ``size`` bytes.

        Args:
            size: Its length in bytes.
            now_s: Seconds that never go back.

        Returns:
            How many seconds nothing more should be read; 0 where it is within the bounds.
        """
        passed_s, self._seen_s = now_s - self._seen_s, now_s
        self._bytes = min(self._bytes + passed_s * self._bytes_per_s, self._bytes_per_s) - size
        self._frames = min(self._frames + passed_s * self._frames_per_s, self._frames_per_s) - 1
        return max(-self._bytes / self._bytes_per_s, -self._frames / self._frames_per_s, 0.0)
