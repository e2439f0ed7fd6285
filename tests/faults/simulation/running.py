"""One seed from its beginning to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.simulation.happenings import HAPPENINGS, run
from tests.faults.simulation.loop import VirtualLoop
from tests.faults.simulation.world import World, world_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a seed; ``error`` is what went wrong."""

    seed: int
    story: list[str]
    counts: Mapping[str, int]
    error: Exception | None

    @property
    def summary(self) -> str:
        """Say in a line what happened."""
        return f"seed {self.seed}: {'broken' if self.error else 'kept'}; {dict(self.counts)}"


def in_virtual_time(story: Callable[[VirtualLoop], Coroutine[Any, Any, Outcome]]) -> Outcome:
    """Let a story happen, in a loop of its own."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        outcome = runner.run(story(loop))
    outcome.story.append(f"{loop.time():9.4f} the end, traced {loop.trace:08x}")
    return outcome


def simulate(seed: int) -> Outcome:
    """Run a seed."""
    return in_virtual_time(lambda loop: _simulate(seed, loop))


async def _simulate(seed: int, loop: VirtualLoop) -> Outcome:
    with world_of(World, seed, loop) as world:
        error: Exception | None = None
        try:
            await run(world)
            await world.stop()
        except Exception as broken:  # noqa: BLE001 - told with its seed
            error = world.oracle.broken or broken
        told = [line.split()[1] for line in world.story]
        counts = {happening.__name__: told.count(happening.__name__) for happening in HAPPENINGS}
        counts |= {
            "acknowledgements": world.oracle.acknowledgements,
            "shown": world.oracle.shown,
            "refusals": world.oracle.refusals,
        }
        return Outcome(seed, world.story, counts, error)
