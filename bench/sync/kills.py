"""
Kill sync servers under load, and count what they lose: ``python -m bench.sync.kills [--server NAME]...``.

Each round the server is started on what the round before has left, raw clients of every dialect that it
speaks write as fast as it answers, and at a random moment it is killed. The next one is asked what it
has. Lost is what was acknowledged, or delivered to somebody else, and is not there; twice is what is
there more than once. In the end every room is read again.

Ours has stock JavaScript clients beside it, where they are installed (``make node``), and its writers come
back after each kill with what was not acknowledged: then all of it must be there, once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from bench.sync.raw import RawClient
from bench.sync.servers import Running, free_port, running
from bench.sync.stock import StockWriters

SERVERS = ("ours", "hocuspocus", "hocuspocus durable", "y-websocket stored", "pycrdt-websocket")
ROOMS = 2
LATEST_S = 1.5
"""A server is killed at most so long after the load has begun."""
STOCK_KILLS = 20
"""So many kills the same stock clients live through, then others begin in another room."""
SETTLE_S = {"y-websocket stored": 6.0, "pycrdt-websocket": 1.0}
"""Stored updates may come behind the answer to the first client: all are there when none came for so long."""


@dataclass
class Tally:
    """What came of all kills of one server."""

    kills: int = 0
    written: int = 0
    acknowledged: int = 0
    delivered: int = 0
    lost_acknowledged: int = 0
    lost_delivered: int = 0
    lossy_kills: int = 0
    twice: int = 0
    not_taken_again: int = 0
    stock_acknowledged: int = 0
    stock_lost: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing is lost and nothing there twice."""
        return not (
            self.lost_acknowledged
            or self.lost_delivered
            or self.twice
            or self.not_taken_again
            or self.stock_lost
        )


@dataclass
class Room:
    """One room, and what must be in it."""

    name: str
    acknowledged: set[str]
    delivered: set[str]


class Kills:
    """All rounds of one server."""

    def __init__(
        self, name: str, folder: Path, seed: int, *, rate: float = 0, has_stock: bool = True
    ) -> None:
        """
        Begin with nothing.

        Args:
            name: One of ``SERVERS``.
            folder: Where it keeps its files.
            seed: Of the moments in which it is killed.
            rate: How many updates a second each client writes; as fast as it is answered, where it is 0.
            has_stock: Whether stock clients write, too; only to ours.
        """
        self.tally = Tally()
        self._name = name
        self._folder = folder
        self._random = random.Random(seed)
        self._pause_s = 1 / rate if rate else 0.0
        self._port = free_port()
        self._is_ours = name == "ours"
        self._has_stock = has_stock and self._is_ours
        self._rooms: list[Room] = []
        self._stock: list[StockWriters] = []

    async def run(self, count: int) -> Tally:
        """Kill so often, then read everything again."""
        writers: list[RawClient] = []
        for number in range(count):
            with running(self._name, self._folder, port=self._port) as server:
                await self._come_back(writers)
                await self._check(server, self._rooms[-ROOMS:], self._stock[-1:])
                if self._has_stock and number % STOCK_KILLS == 0:
                    await self._settle_stock()
                    self._stock.append(StockWriters(self._port, f"stock-{number}"))
                writers = await self._round(server, number)
            self._note(writers)
            if number % 10 == 9:
                print(f"{self._name}: {self.tally}", flush=True)
        with running(self._name, self._folder, port=self._port) as server:
            await self._come_back(writers)
            await self._settle_stock()
            await self._check(server, self._rooms, self._stock)
        return self.tally

    async def _settle_stock(self) -> None:
        """Have the stock clients say that all is saved, and end them."""
        for stock in self._stock[-1:]:
            await stock.settle()
            stock.close()

    async def _round(self, server: Running, number: int) -> list[RawClient]:
        writers: list[RawClient] = []
        readers: list[RawClient] = []
        for name in (f"round-{number}-{place}" for place in range(ROOMS)):
            for is_collab in (False, True) if self._is_ours else (server.is_hocuspocus,):
                own = [f"{name}-{'collab' if is_collab else 'solo'}-{place}" for place in range(2)]
                writers += [RawClient(server, name, marks, is_collab) for marks in own]
                readers.append(RawClient(server, name, "", is_collab))
            self._rooms.append(Room(name, set(), set()))
        await asyncio.gather(*[client.connect() for client in (*writers, *readers)])
        async with AsyncExitStack() as stack:
            for writer in writers:
                await stack.enter_async_context(_writing(writer, self._pause_s))
            for stock in self._stock[-1:]:
                await stack.enter_async_context(stock.writing())
            await asyncio.sleep(self._random.uniform(0.02, LATEST_S))
            server.process.kill()
            server.process.wait()
            await asyncio.gather(*[client.ended() for client in (*writers, *readers)])
        self.tally.kills += 1
        for room in self._rooms[-ROOMS:]:
            here = [client for client in (*writers, *readers) if client.room == room.name]
            room.acknowledged.update(*[client.acknowledged for client in here])
            room.delivered.update(*[client.delivered for client in here])
        return writers

    def _note(self, writers: Sequence[RawClient]) -> None:
        self.tally.written += sum(len(writer.sent) for writer in writers)
        for room in self._rooms[-ROOMS:]:
            self.tally.acknowledged += len(room.acknowledged)
            self.tally.delivered += len(room.delivered)

    async def _check(self, server: Running, rooms: Sequence[Room], stock: Sequence[StockWriters]) -> None:
        """Hold what is there against what must be."""
        known = [(writers.room, writers.acknowledged()) for writers in stock]
        is_lossy = False
        for room in rooms:
            there = await self._read(server, room.name)
            lost = room.acknowledged - set(there)
            unseen = room.delivered - set(there) - lost
            self.tally.lost_acknowledged += len(lost)
            self.tally.lost_delivered += len(unseen)
            self.tally.twice += len(there) - len(set(there))
            is_lossy = is_lossy or bool(lost or unseen)
            # Counted once, not again at the end.
            room.acknowledged -= lost
            room.delivered -= lost | unseen
        self.tally.lossy_kills += is_lossy
        for name, messages in known:
            self.tally.stock_lost += len(messages - set(await self._read(server, name, "messages")))
        self.tally.stock_acknowledged = sum(len(writers.acknowledged()) for writers in self._stock)

    async def _read(self, server: Running, room: str, root: str = "marks") -> list[str]:
        reader = RawClient(server, room, "", self._is_ours or server.is_hocuspocus)
        await reader.connect()
        there = reader.read(root)
        settle_s = SETTLE_S.get(self._name, 0)
        while settle_s:
            await asyncio.sleep(settle_s)
            before, there = there, reader.read(root)
            if len(there) == len(before):
                break
        await reader.close()
        return there

    async def _come_back(self, writers: Sequence[RawClient]) -> None:
        """Have the writers of the last round bring what was not acknowledged; it is there then, once."""
        if not self._is_ours:
            return
        await asyncio.gather(*[writer.connect() for writer in writers])
        for writer in writers:
            is_taken = await writer.all_acknowledged(30)
            self.tally.not_taken_again += 0 if is_taken else len(set(writer.sent) - writer.acknowledged)
            await writer.close()
        for room in self._rooms[-ROOMS:]:
            room.acknowledged.update(*[set(writer.sent) for writer in writers if writer.room == room.name])


@asynccontextmanager
async def _writing(writer: RawClient, pause_s: float) -> AsyncIterator[None]:
    task = asyncio.create_task(writer.write(pause_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def main() -> None:
    """Kill, and print a table; exits with 1 if ours lost anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", action="append", choices=SERVERS, help="only this one; may be repeated")
    parser.add_argument("--count", type=int, default=20, help="kills of each server")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments")
    parser.add_argument("--rate", type=float, default=0, help="updates a second of each of four clients")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}")
    # Connections that break are none of its errors.
    os.environ["CONV_LOG_LEVEL"] = "error"
    tallies: dict[str, Tally] = {}
    for name in chosen.server or SERVERS:
        with tempfile.TemporaryDirectory() as folder:
            kills = Kills(name, Path(folder) / "data", chosen.seed, rate=chosen.rate)
            tallies[name] = asyncio.run(kills.run(chosen.count))
    columns = [field.name for field in fields(Tally)]
    print("| server |", " | ".join(column.replace("_", " ") for column in columns), "|")
    print("| --- |", " | ".join("---" for _ in columns), "|")
    for name, tally in tallies.items():
        print(f"| {name} |", " | ".join(f"{getattr(tally, column):,}" for column in columns), "|")
    sys.exit("ours" in tallies and not tallies["ours"].is_clean)


if __name__ == "__main__":
    main()
