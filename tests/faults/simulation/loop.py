"""
An event loop whose clock jumps to what comes next, and the wall clock that goes with it.

Callbacks that are ready run in asyncio's own order, which code may count on. What differs on a real machine
is when the network and the disk answer: that is drawn from the seed by whoever plays them.
"""

from __future__ import annotations

import asyncio
import selectors
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar
from random import Random
from typing import Any, TypeVar, TypeVarTuple
from unittest.mock import patch

from anyio._backends import _asyncio

from syncd import hub
from syncd.sockets import admission

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

SKEW_S: ContextVar[float] = ContextVar("SKEW_S", default=0.0)
"""How much the wall clock of whoever runs now is ahead: each machine may have one of its own."""

BEGAN_S = 1_790_000_000.0
"""Where the wall clock stands at first."""


class InOrder(dict[Any, None]):
    """
    A set that is walked in the order in which things were put into it.

    Sets of tasks are walked in the order of their addresses, which no seed draws; anyio cancels tasks so.
    """

    def add(self, thing: Any) -> None:
        """Put in a thing."""
        self[thing] = None

    def remove(self, thing: Any) -> None:
        """Take out a thing."""
        del self[thing]

    def discard(self, thing: Any) -> None:
        """Take out a thing, if it is there."""
        self.pop(thing, None)


@contextmanager
def walked_in_order() -> Iterator[None]:
    """Have sets of things that only have an address walked in the order in which they came."""
    with ExitStack() as stack:
        for module in (_asyncio, admission, hub):
            stack.enter_context(patch.object(module, "set", InOrder, create=True))
        yield


class StuckError(Exception):
    """Everybody waits for somebody else."""


class _Selector(selectors.DefaultSelector):
    """Waits for nobody: time passes at once."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("nothing is under way, and nothing will come")
        self.now_s += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at 0."""

    def __init__(self) -> None:
        self._clock = _Selector()
        self.trace = 0
        super().__init__(self._clock)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._clock.now_s

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have something done, and count it in ``trace``: what was done when, in one number."""
        self.trace = zlib.crc32(f"{self.time()} {_name_of(callback)}".encode(), self.trace)
        return super().call_soon(callback, *args, context=context)

    def work(self, seconds: float) -> None:
        """Let time pass that a computation takes."""
        self._clock.now_s += seconds


def _name_of(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return str(getattr(owner.get_coro(), "__qualname__", ""))
    return str(getattr(callback, "__qualname__", ""))


class WallClock:
    """The wall clock of the simulated machine: it runs with virtual time, and may be set."""

    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self._loop = loop
        self._random = random
        self.ahead_s = 0.0

    def time(self) -> float:
        """Return seconds since 1970."""
        return BEGAN_S + self.ahead_s + SKEW_S.get() + self._loop.time()

    def time_ns(self) -> int:
        """Return the same in nanoseconds."""
        return int(self.time() * 1e9)

    def perf_counter(self) -> float:
        """Return virtual seconds; who measures what it does finds that it took a while, seldom a long one."""
        self._loop.work(self._random.choice([0.0, 0.0001, 0.001, 0.1]) * self._random.random())
        return self._loop.time()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Have Python's clocks tell this time."""
        with (
            patch.object(time, "time", self.time),
            patch.object(time, "time_ns", self.time_ns),
            patch.object(time, "monotonic", self._loop.time),
            patch.object(time, "perf_counter", self.perf_counter),
        ):
            yield


class SeededWorker:
    """Does work in the event loop, one piece after another, each when the seed says so."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._free_s = 0.0

    def submit(self, work: Callable[[], R], done: Callable[[R], None]) -> None:
        """Do some work later, and say so later still; see ``syncd.rooms.worker.Worker``."""
        self._free_s = max(self._free_s, self._loop.time()) + self._draw_s()
        self._loop.call_at(self._free_s, self._do, work, done)

    def _do(self, work: Callable[[], R], done: Callable[[R], None]) -> None:
        result = work()
        self._loop.call_later(self._draw_s(), done, result)

    def _draw_s(self) -> float:
        return self._random.choice([0.0001, 0.001, 0.01, 0.1, 0.4]) * (1 + self._random.random())

    def close(self) -> None:
        """End."""
