"""What may happen to executors, each drawn by its weight."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Final
from unittest.mock import patch

from adapters.executor import retries
from tests.faults.simulation.executors.nodes import Node
from tests.faults.simulation.executors.world import TALKS, RunsWorld, nap
from tests.faults.simulation.loop import VirtualLoop
from tests.faults.simulation.running import Outcome, in_virtual_time
from tests.faults.simulation.world import world_of

Happening = Callable[[RunsWorld], Awaitable[None]]
STEPS: Final = 60


def simulate_executors(seed: int) -> Outcome:
    """Run a seed."""
    return in_virtual_time(lambda loop: _simulate(seed, loop))


async def _simulate(seed: int, loop: VirtualLoop) -> Outcome:
    jitter = patch.object(retries, "_random", Random(f"seed {seed}, jitter"))
    with world_of(RunsWorld, seed, loop) as world, jitter:
        error: Exception | None = None
        try:
            await _run(world)
        except Exception as broken:  # noqa: BLE001 - told with its seed
            error = world.provider.broken or world.oracle.broken or broken
        told = [line.split()[1] for line in world.story]
        counts = {happening.__name__: told.count(happening.__name__) for happening in HAPPENINGS}
        return Outcome(seed, [*world.story, *_calls(world)], counts | _counts(world), error)


def _calls(world: RunsWorld) -> Iterator[str]:
    for call in world.provider.calls:
        end = f"until {call.ended_s:.4f}" if call.ended_s is not None else "for ever"
        yield f"{call.began_s:9.4f} {call.who} answered {call.tag} under epoch {call.epoch} {end}"


def _counts(world: RunsWorld) -> dict[str, int]:
    tags = [call.tag for call in world.provider.calls]
    return {
        "questions": len(world.tags),
        "calls": len(tags),
        "asked_twice": len(tags) - len(set(tags)),
        "answered_twice": world.answered_twice,
        "cancelled": sum(call.cancelled_s is not None for call in world.provider.calls),
    }


async def _run(world: RunsWorld) -> None:
    await world.start()
    for node in world.nodes:
        node.start()
    kinds, weights = list(HAPPENINGS), list(HAPPENINGS.values())
    for _ in range(STEPS):
        happening = world.random.choices(kinds, weights)[0]
        world.note(happening.__name__)
        await happening(world)
        await nap(world)
        world.provider.check()
        await world.recover()
        if world.random.random() < 0.6:
            await world.start()
    await world.settle()
    for node in world.nodes:
        await node.stop()
    await world.stop()


def _node(world: RunsWorld) -> Node:
    return world.random.choice(world.nodes)


async def ask(world: RunsWorld) -> None:
    """Somebody asks, at the daemon or on a device, connected or not."""
    talk, node = world.random.choice(TALKS), _node(world)
    if world.random.random() < 0.4:
        await world.ask_daemon(talk)
    elif node.is_alive:
        node.ask(talk, world.next_tag())


async def cancel(world: RunsWorld) -> None:
    """Somebody wants an answer no more."""
    node = _node(world)
    if node.is_alive:
        node.cancel(world.random.choice(TALKS))


async def cut(world: RunsWorld) -> None:
    """A machine loses its network, best in the middle of an answer."""
    busy = [node for node in world.nodes if world.provider.is_busy(node.name)]
    (world.random.choice(busy) if busy else _node(world)).cut()


async def join(world: RunsWorld) -> None:
    """A machine has its network again."""
    for node in world.nodes:
        node.join()


async def kill(world: RunsWorld) -> None:
    """An executor is killed."""
    await _node(world).kill()


async def stop(world: RunsWorld) -> None:
    """An executor is stopped in good order."""
    await _node(world).stop()


async def start(world: RunsWorld) -> None:
    """Executors are started."""
    for node in world.nodes:
        node.start()


async def crash(world: RunsWorld) -> None:
    """The daemon is killed, or the power goes: now, or in the middle of what the disk does next."""
    if world.process is not None and world.random.random() < 0.5:
        world.process.crash(world.random.choice(["kill", "power"]))
    else:
        world.crash_after(world.random.randrange(1, 30))


async def restart(world: RunsWorld) -> None:
    """The daemon is stopped in good order."""
    await world.stop()


async def set_clock(world: RunsWorld) -> None:
    """The wall clock steps."""
    world.clock.ahead_s += world.random.choice([-86400.0, -30.0, -1.0, 1.0, 30.0, 1e7])


HAPPENINGS: Final[dict[Happening, float]] = {
    ask: 14,
    cancel: 8,
    cut: 5,
    join: 6,
    kill: 3,
    stop: 1,
    start: 6,
    crash: 2,
    restart: 1,
    set_clock: 1.5,
}
"""How often each comes."""
