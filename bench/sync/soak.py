"""
Walk through thousands of documents, and watch the daemon's memory: ``python -m bench.sync.soak --out FILE``.

Each document is opened by two clients; one writes messages, the other waits for them; then both leave.
Every fourth visit is to a document that was visited before. The daemon is ``syncd serve`` as it is
installed, on a new file. Its resident memory and its count of open documents are read every second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.plot import Panel, draw
from bench.sync.load import MARK, Client, until_marks
from bench.sync.servers import CLIENT_CORE, Running, running
from crdt_conv import Store

AGAIN = 4
"""Every so many visits, one is to a document that is known."""
MESSAGES = 5
REST_S = 20.0
"""So long after the last visit the daemon is still watched."""


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment."""

    visits: int
    memory_mb: float
    rooms: int


class Soak:
    """One walk."""

    def __init__(self, server: Running, *, documents: int, hold_s: float, seed: int) -> None:
        self.samples: list[Sample] = []
        self.visits = 0
        self._server = server
        self._hold_s = hold_s
        self._way = _way(documents, random.Random(seed))
        self._written: Counter[int] = Counter()

    async def run(self, at_once: int) -> None:
        """Make all visits, so many at a time, and watch the server meanwhile and for a while after."""
        async with self._watched():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns) as progress:
                bar = progress.add_task("visits", total=len(self._way))
                left = iter(self._way)

                async def walk() -> None:
                    for document in left:
                        await self._visit(document)
                        self.visits += 1
                        progress.advance(bar)

                await asyncio.gather(*[walk() for _ in range(at_once)])
            await asyncio.sleep(REST_S)

    async def _visit(self, document: int) -> None:
        room = f"soak-{document}"
        writer, reader = [await Client(self._server, room).connect() for _ in range(2)]
        for update in _messages(room):
            writer.write_frames(writer.frame(update))
        self._written[document] += MESSAGES
        if not await until_marks([reader], self._written[document], 60):
            raise RuntimeError(f"{room}: {reader.marks} of {self._written[document]} messages came")
        await asyncio.sleep(self._hold_s)
        for client in (writer, reader):
            client.close()

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self) -> None:
        headers = {"Authorization": f"Bearer {self._server.token}"}
        async with httpx.AsyncClient(headers=headers) as http:
            while True:
                told = await http.get(f"http://127.0.0.1:{self._server.port}/metrics")
                memory_mb = _resident_bytes(self._server.process.pid) / 1e6
                self.samples.append(Sample(self.visits, memory_mb, _rooms(told.text)))
                await asyncio.sleep(1)


def _way(documents: int, chance: random.Random) -> list[int]:
    """Return which document is visited when: all in order, and known ones between them."""
    way: list[int] = []
    for document in range(documents):
        way.append(document)
        # Not one of the latest: two visits at once would not know how much to wait for.
        if document % (AGAIN - 1) == 0 and document > 200:
            way.append(chance.randrange(document - 200))
    return way


def _messages(conversation_id: str) -> list[bytes]:
    """Return the updates of some new messages, as one more device would send them."""
    made: list[bytes] = []
    with Store(":memory:") as store:
        conversation = store.join(conversation_id)
        stop = conversation.subscribe(lambda change: made.append(change.update))
        for number in range(MESSAGES):
            conversation.append("user", f"{MARK.decode()} {number} {'lorem ipsum ' * 20}")
        stop()
    return made


def _resident_bytes(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _rooms(metrics: str) -> int:
    families = text_string_to_metric_families(metrics)
    return int(next(sample.value for f in families for sample in f.samples if sample.name == "syncd_rooms"))


def _picture(soak: Soak, documents: int, spent_s: float) -> str:
    caption = (
        f"{documents:,} documents, each opened by two clients and given {MESSAGES} messages, "
        f"a quarter of the visits to known ones; {spent_s / 60:.1f} minutes; syncd serve as it is"
    )
    memory = Panel("resident memory, MB", [(s.visits, s.memory_mb) for s in soak.samples])
    rooms = Panel("open documents", [(s.visits, s.rooms) for s in soak.samples])
    return draw(
        "The daemon's memory while clients come and go", [memory, rooms], "documents visited", caption
    )


def _summary(samples: list[Sample]) -> str:
    """Return a row for each tenth of the way, and the end."""
    last = samples[-1].visits
    rows = [next(s for s in samples if s.visits >= last * part / 10) for part in range(11)] + [samples[-1]]
    return "\n".join(f"{s.visits:>7,} visited  {s.memory_mb:7.1f} MB  {s.rooms:>5} open" for s in rows)


def main() -> None:
    """Walk, print a table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--at-once", type=int, default=16, help="documents that are open at a time")
    parser.add_argument("--hold", type=float, default=1.0, help="seconds that a document is kept open")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where to draw")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    with tempfile.TemporaryDirectory() as folder, running("ours", Path(folder) / "data") as server:
        began_s = time.monotonic()
        soak = Soak(server, documents=chosen.documents, hold_s=chosen.hold, seed=chosen.seed)
        asyncio.run(soak.run(chosen.at_once))
        spent_s = time.monotonic() - began_s
    print(_summary(soak.samples))
    if chosen.out is not None:
        chosen.out.write_text(_picture(soak, chosen.documents, spent_s))


if __name__ == "__main__":
    main()
