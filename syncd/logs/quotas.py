"""How many lines of one kind are written: what somebody can repeat must not fill the log."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

BURST: Final = 10
"""So many lines of one kind are written in ``PER_S``."""
PER_S: Final = 60.0
KEPT: Final = 1024
"""So many pairs of kind and peer are remembered."""


class Quota:
    """So many lines in so much time. Has no clock of its own."""

    __slots__ = ("_began_s", "_burst", "_left", "_omitted", "_per_s")

    def __init__(self, burst: int = BURST, per_s: float = PER_S) -> None:
        self._burst = self._left = burst
        self._per_s = per_s
        self._began_s = 0.0
        self._omitted = 0

    def take(self, now_s: float) -> int | None:
        """Return how many lines were left out before this one; nothing where this one is, too."""
        if now_s - self._began_s >= self._per_s:
            self._began_s, self._left = now_s, self._burst
        if self._left == 0:
            self._omitted += 1
            return None
        self._left -= 1
        omitted, self._omitted = self._omitted, 0
        return omitted


class Quotas:
    """One quota for each kind of line and each peer: who comes anew each time is no stranger to it."""

    def __init__(self) -> None:
        self._quotas: OrderedDict[tuple[str, str], Quota] = OrderedDict()

    def take(self, kind: str, peer: str, now_s: float) -> int | None:
        """Return how many such lines of a peer's were left out before this one; nothing where it is, too."""
        key = kind, peer
        quota = self._quotas.setdefault(key, Quota())
        self._quotas.move_to_end(key)
        if len(self._quotas) > KEPT:
            self._quotas.popitem(last=False)
        return quota.take(now_s)
