"""
The world of one seed: a machine with a disk and a clock, the daemon on it, clients, and what happens to them.

Everything that is random is drawn from the seed, and time is virtual, so the same seed tells the same story.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar
from unittest.mock import patch

import pycrdt

from crdt_conv.document import document
from syncd.auth import Right
from syncd.rooms import room as rooms
from syncd.sockets import wire
from tests.faults.simulation.clients import Client, CollabClient, SoloClient
from tests.faults.simulation.daemon import FILE, Process
from tests.faults.simulation.disk import Disk, Disks, Image, Loss, simulated_disks
from tests.faults.simulation.loop import VirtualLoop, WallClock, walked_in_order
from tests.faults.simulation.network import HONEST, SLOW, WILD, End, Manner, Socket
from tests.faults.simulation.oracle import BrokenPromise, Oracle
from tests.faults.simulation.remains import Remains, remains_of
from tests.faults.simulation.replicas import Replica, View, view_of

CONVERSATIONS: Final = ("one", "two", "three")
STEPS: Final = 160
LONGEST_S: Final = 400.0
"""So long may it take, in virtual seconds, until all agree once nothing goes wrong any more."""


class World:
    """One seed's."""

    CLIENTS = 5

    def __init__(self, seed: int, disks: Disks, folder: Path, clock: WallClock) -> None:
        self.name = f"seed {seed}"
        self.random = Random(self.name)
        self.clock = clock
        self.story: list[str] = []
        self.process: Process | None = None
        self._loop = asyncio.get_running_loop()
        self.oracle = Oracle(self._durable, self._loop.time)
        self._disks = disks
        self._folder = folder
        self._image: Image = {}
        self._numbers = count(1)
        self._generations = 0
        self._rights = frozenset(Right)
        self.clients = [self._client(number) for number in range(self.CLIENTS)]

    def _client(self, number: int) -> Client:
        is_collab = number % 2 == 1
        chosen = self.random.sample(CONVERSATIONS, 2) if is_collab else [self.random.choice(CONVERSATIONS)]
        replicas = [
            Replica(f"{self.name}, client {number} of {conversation}", conversation, next(self._numbers))
            for conversation in chosen
        ]
        manner = self.random.choice([HONEST, HONEST, SLOW, WILD])
        kind = CollabClient if is_collab else SoloClient
        return kind(f"{self.name}, client {number}", replicas, manner, self._connect, self.oracle)

    def note(self, what: str) -> None:
        """Write down what happens."""
        self.story.append(f"{self._loop.time():9.4f} {what}")

    def _durable(self) -> tuple[int, Callable[[], Remains]]:
        assert self.process is not None
        disk = self.process.disk
        return self._generations * 1_000_000 + disk.version, lambda: remains_of(disk.durable(), FILE)

    def _connect(self, path: str, end: End, manner: Manner, random: Random) -> Socket | None:
        process = self.process
        if process is None or not process.is_ready or not process.is_alive:
            return None
        socket = Socket(path, end, manner, random, self.oracle)
        process.connect(socket)
        return socket

    # The daemon

    async def start(self) -> None:
        """Start the daemon on what is left, for as often as it takes."""
        while self.process is None:
            self._generations += 1
            folder = self._folder / str(self._generations)
            folder.mkdir()
            random = Random(f"{self.name}, run {self._generations}")
            disk = Disk(folder, random)
            disk.put(self._image)
            self._disks.add(disk)
            self.oracle.restart()
            self.process = self._process(disk, random)
            self.process.allow(self._rights)
            if self.random.random() < 0.2:
                self.crash_after(self.random.randrange(1, 40))
            self.note(f"the daemon starts, run {self._generations}")
            if not await self.process.started():
                _expect_expected(self.process)
                await self.recover()
            else:
                self.check_store()

    def allow(self, rights: frozenset[Right]) -> None:
        """Have everybody do no more than this, now and after a restart."""
        self._rights = rights
        if self.process is not None:
            self.oracle.check(self.oracle.durable())
        self.oracle.excuse()
        self.oracle.allow(may_write=Right.WRITE in rights)
        if self.process is not None:
            self.process.allow(rights)

    def _process(self, disk: Disk, random: Random) -> Process:
        return Process(disk, random)

    def crash_after(self, operations: int) -> None:
        """Have a kill or a loss of power come at a later operation of the disk."""
        loss: Loss = self.random.choice(["kill", "power"])
        self.note(f"{loss} after {operations} operations of the disk")
        if self.process is not None:
            self.process.crash_after(operations, loss)

    async def recover(self) -> None:
        """If the daemon is dead, see what is left of its files."""
        process = self.process
        if process is None or (process.is_alive and process.error is None):
            return
        self.process = None
        self._image = await process.bury()
        # Not how much: Yjs writes the keys of a map in any order, and so updates compress to any size.
        self.note(f"it is dead; left are {sorted(self._image)}")
        _raise_first(process)
        self.oracle.check(remains_of(self._image, FILE))

    async def stop(self) -> None:
        """Stop the daemon in good order; what it took in is there then."""
        process = self.process
        if process is None:
            return
        is_healthy = not process.disk.fails_sync and process.disk.room is None and Right.WRITE in self._rights
        taken = self.oracle.taken_in() if is_healthy else []
        await process.stop()
        was_alive = process.disk.remains is None
        process.is_alive = False
        self.process = None
        self._image = await process.bury()
        self.note("the daemon is stopped")
        _raise_first(process)
        there = remains_of(self._image, FILE)
        self.oracle.check(there)
        if was_alive:
            self.oracle.check_stopped(there, taken)

    # The end

    async def heal(self) -> None:
        """Let nothing go wrong any more, and wait until all agree."""
        self.note("from here on nothing goes wrong")
        self.allow(frozenset(Right))
        if self.process is not None:
            self.process.disk.room, self.process.disk.fails_sync = None, False
        await self.recover()
        for client in self.clients:
            if not client.manner.is_honest:
                # The others must come to agree as they are: nobody may count on being asked again.
                client.cut()
            client.manner, client.is_away = HONEST, False
        end_s = self._loop.time() + LONGEST_S
        while self._loop.time() < end_s and not (self.process and self._agree()):
            await self.start()
            for client in self.clients:
                client.connect()
            await asyncio.sleep(5)
            await self.recover()
        self._check_agreement()

    def _agree(self) -> bool:
        if self.oracle.owed():
            return False
        views = self._views()
        return all(client.socket is not None or not client.following for client in self.clients) and all(
            len(set(held)) == 1 for held in views.values()
        )

    def _views(self) -> dict[str, list[View]]:
        """Return what everybody shows: clients, the files, and the daemon's own replica."""
        there, views = self.oracle.durable(), {}
        assert self.process is not None
        for conversation in CONVERSATIONS:
            held = [
                one.view
                for client in self.clients
                for one in client.following
                if one.conversation == conversation
            ]
            if conversation not in there.deleted and held:
                views[conversation] = [*held, _view(there.updates.get(conversation, []))]
                if self.process.store.engine.has(conversation):
                    views[conversation].append(_view([self.process.store.open(conversation).encode()]))
        return views

    def _check_agreement(self) -> None:
        assert self.process is not None
        views = self._views()
        for conversation, held in views.items():
            differing = [_differences(one, held[-1]) for one in held]
            if any(differing):
                raise BrokenPromise(f"{conversation}: replicas differ from the daemon's: {differing}")
            twice = [value for value, times in Counter(held[0].values).items() if times > 1]
            if twice:
                raise BrokenPromise(f"{conversation}: there twice: {twice}")
        there = self.oracle.durable()
        for client in self.clients:
            for replica in client.following:
                missing = replica.atoms - there.atoms(replica.conversation)
                if missing and replica.conversation not in there.deleted:
                    raise BrokenPromise(f"{replica.name}: {missing} of a client never got there")
        self.oracle.check(there)
        owed = self.oracle.owed()
        if owed:
            raise BrokenPromise(owed)
        self.check_store()

    def check_store(self) -> None:
        """Hold what is derived against the log: the list, and what is stored of an index."""
        damage = self.process.store.check() if self.process is not None and self.process.is_alive else []
        if damage:
            raise BrokenPromise(f"the store is damaged: {damage}")


def _differences(one: View, other: View) -> str:
    if one == other:
        return ""
    lacks = {*other.values, *other.messages} - {*one.values, *one.messages}
    has = {*one.values, *one.messages} - {*other.values, *other.messages}
    return f"lacks {sorted(lacks)}, has {sorted(has)}" if lacks or has else "another order"


def _view(updates: list[bytes]) -> View:
    whole: pycrdt.Doc[Any] = pycrdt.Doc()
    for update in updates:
        whole.apply_update(update)
    return view_of(whole)


def _raise_first(process: Process) -> None:
    for failure in process.failures:
        raise BrokenPromise(f"the daemon failed: {failure!r}") from failure


def _expect_expected(process: Process) -> None:
    if process.is_alive or process.error is not None:
        is_hindered = process.disk.remains is not None
        if process.error is not None and not is_hindered:
            raise BrokenPromise(f"the daemon does not start: {process.error}")


W = TypeVar("W", bound=World)


@contextmanager
def world_of(kind: type[W], seed: int, loop: VirtualLoop) -> Iterator[W]:
    """Make the world of a seed, in its loop."""
    clock, drawn = WallClock(loop, Random(f"seed {seed}, work")), Random(f"seed {seed}, ids")
    with (
        TemporaryDirectory() as folder,
        simulated_disks() as disks,
        clock.telling(),
        walked_in_order(),
        patch.object(secrets, "token_bytes", drawn.randbytes),
        patch.object(secrets, "randbits", drawn.getrandbits),
        # Yjs orders what two clients write at once by these.
        patch.object(document, "Doc", lambda: pycrdt.Doc(client_id=drawn.getrandbits(53))),
        # So that a slow reader lags behind a few small frames, too.
        patch.object(wire, "HIGH_WATER_BYTES", 200),
        # And is asked for what it has behind the answer, as behind a long document's.
        patch.object(
            rooms, "SMALL_BYTES", Random(f"seed {seed}, sizes").choice([0, 1000, rooms.SMALL_BYTES])
        ),
    ):
        yield kind(seed, disks, Path(folder).resolve(), clock)
