"""
Workers: what blocks is done beside the event loop, one piece after another, and told of in it.

The daemon's is a thread. A simulation's decides by itself how long each piece takes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol, TypeVar

R = TypeVar("R")

Piece = Callable[[], Callable[[], None]]
"""Work, which returns what is then called in the event loop."""


class Worker(Protocol):
    """Made and used in one event loop."""

    def submit(self, work: Callable[[], R], done: Callable[[R], None]) -> None:
        """
        Do some work behind all that was submitted before.

        Args:
            work: What blocks; must not raise.
            done: Called in the event loop with what it returned.
        """

    def close(self) -> None:
        """End, once all is done."""


class ThreadWorker:
    """A thread."""

    def __init__(self) -> None:
        self._pieces: SimpleQueue[Piece | None] = SimpleQueue()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=[loop], name="syncd-worker", daemon=True).start()

    def submit(self, work: Callable[[], R], done: Callable[[R], None]) -> None:
        """Do some work in the thread; see ``Worker``."""

        def piece() -> Callable[[], None]:
            result = work()
            return lambda: done(result)

        self._pieces.put(piece)

    def close(self) -> None:
        """End, once all is done."""
        self._pieces.put(None)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (piece := self._pieces.get()) is not None:
            loop.call_soon_threadsafe(piece())
