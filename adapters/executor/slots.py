"""Room for an answer at an adapter, given back while something else is waited for."""

from __future__ import annotations

from typing import Self

from anyio import CapacityLimiter


class Slot:
    """One of the answers that an adapter can give at once; held while the context is open."""

    def __init__(self, limiter: CapacityLimiter) -> None:
        self._limiter = limiter
        self._is_held = False

    async def __aenter__(self) -> Self:
        await self.take()
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.give_back()

    async def take(self) -> None:
        """Wait until it is there; nothing where it is held."""
        if self._is_held:
            return
        await self._limiter.acquire_on_behalf_of(self)
        self._is_held = True

    def give_back(self) -> None:
        """Let others have it meanwhile: a tool may take minutes."""
        if self._is_held:
            self._is_held = False
            self._limiter.release_on_behalf_of(self)
