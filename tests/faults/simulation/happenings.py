"""What may happen, each drawn by its weight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from crdt_conv import CrdtConvError
from syncd.auth import Right
from tests.faults.simulation.network import HONEST, SLOW, WILD
from tests.faults.simulation.world import CONVERSATIONS, STEPS, World

Happening = Callable[[World], Awaitable[None]]


async def run(world: World) -> None:
    """Let a seed's story happen, to its end."""
    await world.start()
    for client in world.clients:
        client.connect()
    kinds, weights = list(HAPPENINGS), list(HAPPENINGS.values())
    for _ in range(STEPS):
        happening = world.random.choices(kinds, weights)[0]
        world.note(happening.__name__)
        await happening(world)
        await asyncio.sleep(world.random.choice([0.0, 0.001, 0.03, 0.5]) * world.random.random())
        if world.oracle.broken is not None:
            raise world.oracle.broken
        await world.recover()
        if world.random.random() < 0.5:
            await world.start()
    await world.heal()


async def write(world: World) -> None:
    """Some clients write, in one moment or nearly so, and some say again what they said before."""
    for _ in range(world.random.choice([1, 1, 2, 8])):
        client = world.random.choice(world.clients)
        client.change()
        if world.random.random() < 0.3:
            # Behind what is still under way: its answer must wait.
            client.repeat()


async def gossip(world: World) -> None:
    """A replica hears from another past the daemon, so that its next change builds on what that lacks."""
    pairs = [(client, replica) for client in world.clients for replica in client.following]
    if pairs:
        client, replica = world.random.choice(pairs)
        _, other = world.random.choice(pairs)
        if replica.conversation == other.conversation:
            client.learn(replica, tuple(other.log))


async def cut(world: World) -> None:
    """A connection breaks, and its client comes back."""
    world.random.choice(world.clients).cut()


async def leave(world: World) -> None:
    """Clients stay away for a while, so that rooms are closed and documents leave memory."""
    gone = world.random.sample(world.clients, world.random.choice([1, 3, 5]))
    for client in gone:
        client.is_away = True
        client.cut()
    await asyncio.sleep(world.random.choice([1.0, 12.0, 30.0]))
    for client in gone:
        client.is_away = False
        client.connect()


async def change_manner(world: World) -> None:
    """A client's network becomes another one with its next connection."""
    client = world.random.choice(world.clients)
    client.manner = world.random.choice([HONEST, HONEST, SLOW, WILD])
    client.cut()


async def crash(world: World) -> None:
    """The process is killed, or the power goes: now, or in the middle of what the disk does next."""
    if world.process is not None and world.random.random() < 0.3:
        world.process.crash(world.random.choice(["kill", "power"]))
    else:
        world.crash_after(world.random.randrange(1, 30))


async def restart(world: World) -> None:
    """The daemon is stopped in good order, and started again."""
    await world.stop()
    await world.start()


async def fill_disk(world: World) -> None:
    """The disk is full, soon or now; or there is room again."""
    if world.process is not None:
        disk = world.process.disk
        disk.room = None if disk.room is not None else world.random.choice([0, 0, 5_000, 50_000])
        world.oracle.excuse()


async def fail_syncs(world: World) -> None:
    """Every fsync fails, or works again."""
    if world.process is not None:
        world.process.disk.fails_sync = not world.process.disk.fails_sync
        world.oracle.excuse()


async def relieve(world: World) -> None:
    """The disk is well."""
    if world.process is not None:
        world.process.disk.room, world.process.disk.fails_sync = None, False
        world.oracle.excuse()


async def set_clock(world: World) -> None:
    """The wall clock steps."""
    world.clock.ahead_s += world.random.choice([-86400.0, -30.0, -1.0, 1.0, 30.0, 1e7])


async def restrict(world: World) -> None:
    """Nobody may write any more, on live sockets too; or everybody may again."""
    world.allow(world.random.choice([frozenset({Right.READ}), *[frozenset(Right)] * 3]))


async def compact(world: World) -> None:
    """A snapshot is made, while writes go on, and put in place."""
    process, conversation = world.process, world.random.choice(CONVERSATIONS)
    if process is None or not process.is_ready:
        return
    try:
        put_in_place = process.begin_compaction(conversation)
        await asyncio.sleep(world.random.choice([0.0, 0.01, 0.5]))
        put_in_place()
    except CrdtConvError as error:
        world.note(f"no compaction: {type(error).__name__}")
    if process.is_alive:
        world.oracle.check(world.oracle.durable())


async def tidy(world: World) -> None:
    """The whole store is compacted at once."""
    process = world.process
    if process is None or not process.is_ready:
        return
    try:
        process.store.compact()
    except CrdtConvError as error:
        world.note(f"not tidied: {type(error).__name__}")
    if process.is_alive:
        world.oracle.check(world.oracle.durable())


async def look(world: World) -> None:
    """Somebody checks the store beside the daemon."""
    if world.process is not None and world.process.is_ready:
        world.check_store()


async def post(world: World) -> None:
    """Somebody writes a message over HTTP."""
    conversation = world.random.choice(CONVERSATIONS)
    if world.process is not None and world.process.is_ready:
        path = f"/api/conversations/{conversation}/messages"
        answer = await world.process.request("POST", path, {"role": "user", "text": "posted"})
        world.note(f"posted: {answer and answer.status}")
        if answer is not None and answer.status == 201:
            world.oracle.posted(conversation, answer.body["id"])


async def delete(world: World) -> None:
    """Somebody deletes a conversation."""
    conversation = CONVERSATIONS[-1]
    if world.process is not None and world.process.is_ready:
        answer = await world.process.request("DELETE", f"/api/conversations/{conversation}")
        world.note(f"deleted: {answer and answer.status}")
        if answer is not None and answer.status == 204:
            world.oracle.was_deleted(conversation)


HAPPENINGS: Final[dict[Happening, float]] = {
    write: 40,
    gossip: 4,
    cut: 4,
    leave: 1.5,
    change_manner: 2,
    crash: 4,
    restart: 1.5,
    fill_disk: 1.5,
    fail_syncs: 1.5,
    relieve: 3,
    set_clock: 2,
    restrict: 2,
    compact: 5,
    tidy: 1,
    look: 6,
    post: 5,
    delete: 0.3,
}
"""How often each comes."""
