"""
Leases of a store: who may do something alone, for a while.

The engine grants them in one atomic statement, by the wall clock, so that they outlive the process.
A wall clock may be set. While a process lives its own steady clock counts: nobody's lease ends early
because the clock was set on, and none of a dead owner lasts for days because it was set back.
"""

from __future__ import annotations

import time
from typing import Final

from crdt_conv.engine import Engine
from crdt_conv.ids import now_ms

LONGEST_S: Final = 60.0
"""No lease is longer. So who was refused for so long, and never renewed, may have what nobody holds."""
_FOREVER_MS: Final = 2**53 - 1
_MANY: Final = 1000


class Leases:
    """The leases of one store, in one process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[str, tuple[str, float]] = {}
        self._refused_s: dict[str, float] = {}

    def acquire(self, name: str, owner: str, ttl_s: float) -> int | None:
        """
        Take or renew a lease.

        Args:
            name: What is to be done.
            owner: Who asks: the same for as long as it lives, and nobody else's.
            ttl_s: For how long, at most ``LONGEST_S``.

        Returns:
            Its epoch, one higher with every new owner; nothing while another holds it.

        Raises:
            StoreError: It could not be made durable.
        """
        now_s, at_ms, ttl_s = time.monotonic(), now_ms(), min(ttl_s, LONGEST_S)
        holder, until_s = self._held.get(name, (owner, 0.0))
        if holder != owner and now_s < until_s:
            return None
        has_ended = holder != owner or now_s - self._refused_s.get(name, now_s) >= LONGEST_S
        epoch = self._engine.acquire_lease(
            name, owner, at_ms=_FOREVER_MS if has_ended else at_ms, until_ms=at_ms + int(ttl_s * 1000)
        )
        if epoch is None:
            self._refused_s.setdefault(name, now_s)
            return None
        self._refused_s.pop(name, None)
        self._held[name] = owner, now_s + ttl_s
        self._tidy(now_s)
        return epoch

    def release(self, name: str, owner: str) -> None:
        """
        End a lease now, if this owner holds it; the epoch stays.

        Raises:
            StoreError: It could not be made durable; it ends by itself.
        """
        self._engine.release_lease(name, owner)
        if self._held.get(name, ("", 0.0))[0] == owner:
            del self._held[name]

    def _tidy(self, now_s: float) -> None:
        """Forget what has ended long ago: the engine knows it."""
        if len(self._held) > _MANY:
            self._held = {name: held for name, held in self._held.items() if held[1] > now_s - 10 * LONGEST_S}
