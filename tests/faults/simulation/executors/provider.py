"""A provider in virtual time that counts its calls, and knows who could be reached when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, Final

import anyio

from adapters import ProviderUnavailable, Report, Request, StreamBroken
from adapters.exchange import Hidden, Tool
from adapters.executor.leases import RENEW_S
from adapters.normalize import normalize
from crdt_conv import Message, Target
from syncd.client.leases import ASK_S
from tests.adapters.fakes import STOP, ScriptedIngest, says
from tests.faults.simulation.oracle import BrokenPromise

AT_ONCE: Final = 2
NAME: Final = "simulated"
CANCEL_S: Final = 1.0
LONGEST_OVERLAP_S: Final = RENEW_S + ASK_S + 1.0
"""So long may an owner that lost its lease not know it: until it renews, and the answer is here."""


@dataclass(slots=True)
class Call:
    """One call for an answer to one question."""

    number: int
    tag: str
    who: str
    epoch: int
    began_s: float
    ended_s: float | None = None
    has_failed: bool = False
    """Whether it ended by the provider's own fault."""
    cancelled_s: float | None = None
    """When its executor could read that nobody wants it any more."""


class Provider:
    """Counts."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._loop = asyncio.get_running_loop()
        # Of each executor, and of the daemon, since when it is reached (or not).
        self._reached: dict[str, list[tuple[float, bool]]] = {}
        self.broken: BrokenPromise | None = None

    def expect(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001 - an assertion
        """Keep the first promise that is broken: where it is found, executors are in between."""
        if not holds and self.broken is None:
            self.broken = BrokenPromise(otherwise)

    def reached(self, who: str, *, is_reached: bool) -> None:
        """Write down that somebody is on the network, or off it."""
        self._reached.setdefault(who, []).append((self._loop.time(), is_reached))

    def begin(self, who: str, tag: str, epoch: int) -> Call:
        """Take a call."""
        call = Call(len(self.calls), tag, who, epoch, self._loop.time())
        self.calls.append(call)
        at_once = sum(other.who == who and other.ended_s is None for other in self.calls)
        self.expect(at_once <= AT_ONCE, f"{who} makes {at_once} calls at once")
        same = [c for c in self.calls if (c.tag, c.who, c.epoch) == (tag, who, epoch) and not c.has_failed]
        self.expect(len(same) == 1, f"{tag}: {len(same)} calls by {who} under epoch {epoch}")
        return call

    def cancelled(self, who: str, tag: str) -> None:
        """An executor can read that a question is not to be answered any more."""
        for call in self.calls:
            if (call.who, call.tag, call.ended_s, call.cancelled_s) == (who, tag, None, None):
                call.cancelled_s = self._loop.time()

    def died(self, who: str) -> None:
        """A process is gone, and its connections with it."""
        for call in self.calls:
            if call.who == who and call.ended_s is None:
                call.ended_s = self._loop.time()

    def end(self, call: Call) -> None:
        """See a call end."""
        if call.ended_s is not None:
            return
        call.ended_s = self._loop.time()
        if call.cancelled_s is not None:
            late_s = call.ended_s - call.cancelled_s
            self.expect(late_s <= CANCEL_S, f"{call.tag}: {late_s:.1f} s from cancel to the end of the call")

    def is_busy(self, who: str) -> bool:
        """Whether somebody makes a call now."""
        return any(call.who == who and call.ended_s is None for call in self.calls)

    def check(self) -> None:
        """
        Hold all calls against each other.

        Raises:
            BrokenPromise: Two executors answered one question, while either could have known of the other.
        """
        if self.broken is not None:
            raise self.broken
        for number, one in enumerate(self.calls):
            for other in self.calls[number + 1 :]:
                if one.tag == other.tag and one.who != other.who:
                    self._check_overlap(one, other)

    def _check_overlap(self, one: Call, other: Call) -> None:
        begin_s = max(one.began_s, other.began_s)
        end_s = min(call.ended_s if call.ended_s is not None else self._loop.time() for call in (one, other))
        together_s = self._longest_together_s((one.who, other.who, "daemon"), begin_s, end_s)
        if together_s > LONGEST_OVERLAP_S:
            raise BrokenPromise(
                f"{one.tag}: {one.who} and {other.who} both answered {together_s:.1f} s long, unawares"
            )

    def _longest_together_s(self, names: Sequence[str], begin_s: float, end_s: float) -> float:
        """Return the longest time, within a span, in which all of these were on the network."""
        if end_s <= begin_s:
            return 0.0
        moments = {begin_s, end_s}
        moments |= {at for name in names for at, _ in self._reached.get(name, ()) if begin_s < at < end_s}
        longest_s = run_s = 0.0
        for start_s, stop_s in pairwise(sorted(moments)):
            is_together = all(self._is_reached(name, start_s) for name in names)
            run_s = run_s + stop_s - start_s if is_together else 0.0
            longest_s = max(longest_s, run_s)
        return longest_s

    def _is_reached(self, who: str, at_s: float) -> bool:
        states = [is_reached for since_s, is_reached in self._reached.get(who, ()) if since_s <= at_s]
        return states[-1] if states else False


class SimulatedAdapter:
    """One executor's way to the provider."""

    name = NAME
    model = "m"
    at_once = AT_ONCE

    def __init__(
        self,
        who: str,
        provider: Provider,
        random: Random,
        *,
        is_alive: Callable[[], bool],
        epoch_of: Callable[[str], int],
        may_begin: Callable[[str], None],
    ) -> None:
        """
        Make one.

        Args:
            who: The executor's name.
            provider: Who answers.
            random: How slowly, and with which errors.
            is_alive: Whether the executor's process still is.
            epoch_of: Returns under which epoch a question is being answered.
            may_begin: Called before a call for a question.
        """
        self._who = who
        self._provider = provider
        self._random = random
        self._is_alive = is_alive
        self._epoch_of = epoch_of
        self._may_begin = may_begin

    def materialize(
        self,
        log: Sequence[Message],
        target: Target,
        tools: Sequence[Tool],
        hidden: Hidden,
    ) -> tuple[Request, Report]:
        turns = normalize(log)
        return Request("/", {"tag": target.params["tag"]}), Report("simulated/1", turns.sent)

    def ingest(self, request: Request) -> ScriptedIngest:
        return ScriptedIngest()

    async def serve(self) -> None:
        await anyio.sleep_forever()

    async def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any], None]:
        tag, random = (request.body or {})["tag"], self._random
        if not self._is_alive():
            await anyio.sleep_forever()
        self._may_begin(tag)
        call = self._provider.begin(self._who, tag, self._epoch_of(tag))
        try:
            if random.random() < 0.1:
                call.has_failed = True
                raise ProviderUnavailable("busy", retry_after_s=0.2)
            # Some answers take longer than a lease lasts.
            pace_s = random.choice([0.01, 0.5, 6.0])
            for piece in range(random.choice([1, 3, 12])):
                await anyio.sleep(pace_s * random.random())
                yield says(f"{call.number}.{piece} ")
            if random.random() < 0.03:
                call.has_failed = True
                raise StreamBroken("it broke off")
            yield STOP
        finally:
            self._provider.end(call)
