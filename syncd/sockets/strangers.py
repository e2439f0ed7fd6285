"""Who is connected and has not said yet who it is: each for a while, and not too many at once."""

from __future__ import annotations

import asyncio
from typing import Protocol

from syncd.limits import Limits


class Stranger(Protocol):
    """A connection that may be ended."""

    def give_up(self) -> None:
        """End it."""


class Strangers:
    """Used from one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[Stranger, asyncio.TimerHandle] = {}

    def __contains__(self, stranger: Stranger) -> bool:
        return stranger in self._waiting

    def expect(self, stranger: Stranger) -> None:
        """Give it up after a while; with too many of them, the oldest at once."""
        later = asyncio.get_running_loop().call_later
        self._waiting[stranger] = later(self._limits.unauthenticated_s, self._give_up, stranger)
        if len(self._waiting) > self._limits.unauthenticated:
            self._give_up(next(iter(self._waiting)))

    def forget(self, stranger: Stranger) -> None:
        """Let it be: it is none any more, or gone."""
        timer = self._waiting.pop(stranger, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self, stranger: Stranger) -> None:
        self.forget(stranger)
        stranger.give_up()
