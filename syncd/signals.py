"""
SIGTERM and Ctrl-C: the first one has the daemon end in order, the second one ends it at once.

At once loses nothing that was acknowledged: that is on disk. Other processes of ours end with this one.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from syncd.logs.events import event

logger = logging.getLogger("syncd")


class Ending:
    """Whether this process was told to end."""

    def __init__(self) -> None:
        self._told = anyio.Event()
        self._name = ""

    async def wait(self) -> str:
        """Wait until it is told to end; returns by which signal."""
        await self._told.wait()
        return self._name

    def tell(self, name: str) -> None:
        """Have it end."""
        self._name = name
        self._told.set()


@asynccontextmanager
async def told_to_end() -> AsyncIterator[Ending]:
    """Listen to signals; the second one ends the process, with 128 and its number, as a shell says it."""
    ending = Ending()
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen, signals, ending)
            yield ending
            tasks.cancel_scope.cancel()


async def _listen(signals: AsyncIterator[signal.Signals], ending: Ending) -> None:
    ending.tell((await anext(signals)).name)
    second = await anext(signals)
    logger.critical("told twice: ends at once", extra=event("daemon_cut", reason=second.name))
    sys.stdout.flush()
    logging.shutdown()
    os._exit(128 + second)
