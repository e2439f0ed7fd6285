"""
Group commit: many updates, one fsync.

While one group is on its way to the disk the next one gathers. Each update is
handed back with its sequence number once it is durable, in the order in which
it came, or with the error that kept it from being durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import anyio
import anyio.to_thread

from crdt_conv import StoreError
from crdt_conv.engine import Row

Done: TypeAlias = Callable[[int | StoreError], None]


class GroupCommit:
    """A queue in front of a store's log. Used from one event loop."""

    def __init__(self, append: Callable[[Sequence[Row]], Sequence[int]]) -> None:
        """
        Make an idle queue.

        Args:
            append: Makes rows durable, blocking; called in a thread.
        """
        self._append = append
        self._queue: list[tuple[Row, Done]] = []
        self._is_waiting = anyio.Event()
        self._is_closed = False

    def submit(self, row: Row, done: Done) -> None:
        """Queue a row; ``done``, which must not raise, is called once it is durable or refused."""
        self._queue.append((row, done))
        self._is_waiting.set()

    def close(self) -> None:
        """Let ``run`` end when the queue is empty."""
        self._is_closed = True
        self._is_waiting.set()

    async def run(self) -> None:
        """Commit what comes, until closed and empty."""
        while self._queue or not self._is_closed:
            if not self._queue:
                self._is_waiting = anyio.Event()
                await self._is_waiting.wait()
                continue
            # Not to be abandoned: what is in the thread will be on disk.
            with anyio.CancelScope(shield=True):
                await self._commit_queued()

    async def _commit_queued(self) -> None:
        # Held here, not in run(), which waits: a callback keeps a whole room alive.
        group, self._queue = self._queue, []
        results: Sequence[int | StoreError]
        try:
            results = await anyio.to_thread.run_sync(self._append, [row for row, _ in group])
        except StoreError as error:
            results = [error] * len(group)
        for (_, done), result in zip(group, results, strict=True):
            done(result)
