"""
Measure sync servers side by side: ``python -m bench.sync [--server NAME]... [--figure NAME]... [--quick]``.

The server runs on one core, the load on another. CPU is what the server's threads took, from when the
load begins until a while after it ended, so that work that was put off counts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pycrdt

from bench.sync.load import Client, make_conversation, make_updates, until_marks
from bench.sync.servers import CLIENT_CORE, Running, running, versions

SERVERS = (
    "ours",
    "ours (collab)",
    "hocuspocus",
    "hocuspocus durable",
    "y-websocket",
    "y-websocket stored",
    "pycrdt-websocket",
)
REST_S = 3.0
"""Put-off work is waited for so long; Hocuspocus stores after 2 s."""

Row = dict[str, float]


async def _clients(server: Running, room: str, count: int) -> list[Client]:
    return list(await asyncio.gather(*[Client(server, room).connect() for _ in range(count)]))


def _close(*clients: Client) -> None:
    for client in clients:
        client.close()


async def steady(server: Running, quick: int) -> Row:
    """One writer at 100 a second, 50 readers: CPU a delivered update, and how long 10 of them wait."""
    seconds = 3 if quick else 8
    readers, writer = await _clients(server, "steady", 50), await Client(server, "steady").connect()
    frames = [writer.frame(update) for update in make_updates(100 * seconds)]
    await asyncio.sleep(1)
    loop = asyncio.get_running_loop()
    sent: list[float] = []
    for reader in readers[:10]:
        reader.times = []
    before_s, began_s = server.cpu_s(), loop.time()
    for number, frame in enumerate(frames):
        sent.append(loop.time())
        writer.write_frames(frame)
        await asyncio.sleep(max(0.0, began_s + (number + 1) / 100 - loop.time()))
    await until_marks(readers, len(frames))
    await asyncio.sleep(REST_S)
    cpu_s = server.cpu_s() - before_s
    waits = sorted(
        (came - went) * 1000
        for reader in readers[:10]
        for went, came in zip(sent, reader.times or [], strict=False)
    )
    _close(writer, *readers)
    return {
        "cpu100 us": cpu_s / (50 * len(frames)) * 1e6,
        "p50 ms": statistics.median(waits),
        "p99 ms": waits[int(len(waits) * 0.99)],
    }


async def full(server: Running, quick: int) -> Row:
    """One writer as fast as the socket takes it, 50 readers: CPU a delivered update."""
    count = 10_000 if quick else 40_000
    readers, writer = await _clients(server, "full", 50), await Client(server, "full").connect()
    frames = [writer.frame(update) for update in make_updates(count)]
    before_s = server.cpu_s()
    for at in range(0, count, 50):
        writer.write_frames(b"".join(frames[at : at + 50]))
        await asyncio.sleep(0)
    is_done = await until_marks(readers, count, 120)
    await asyncio.sleep(REST_S)
    delivered = sum(reader.marks for reader in readers)
    cpu_s = server.cpu_s() - before_s
    _close(writer, *readers)
    return {"full us": cpu_s / delivered * 1e6, "lost": 0 if is_done else 50 * count - delivered}


async def in_flight(server: Running, quick: int) -> Row:
    """One writer, 10 readers, never more than 100 on their way: updates a second."""
    count = 10_000 if quick else 40_000
    readers, writer = await _clients(server, "flight", 10), await Client(server, "flight").connect()
    frames = [writer.frame(update) for update in make_updates(count)]
    first, sent, began_s = readers[0], 0, time.perf_counter()
    while first.marks < count:
        room = min(count, first.marks + 100) - sent
        if room > 0:
            writer.write_frames(b"".join(frames[sent : sent + room]))
            sent += room
        first.changed.clear()
        await asyncio.wait_for(first.changed.wait(), 60)
    spent_s = time.perf_counter() - began_s
    _close(writer, *readers)
    return {"in flight /s": count / spent_s}


async def rooms(server: Running, quick: int) -> Row:
    """2,000 rooms with 2 clients each: updates a second, CPU an update, memory a room."""
    count, each = (500, 5) if quick else (2000, 10)
    empty_kb = server.memory_kb()
    pairs: list[tuple[Client, Client]] = []
    for at in range(0, count, 50):
        made = await asyncio.gather(
            *[Client(server, f"room-{number}").connect() for number in range(at, at + 50) for _ in range(2)]
        )
        pairs.extend(zip(made[::2], made[1::2], strict=True))
    await asyncio.sleep(1)
    full_kb = server.memory_kb()
    updates = make_updates(each)
    before_s, began_s = server.cpu_s(), time.perf_counter()
    for number in range(each):
        for writer, _ in pairs:
            writer.write_frames(writer.frame(updates[number]))
        await asyncio.sleep(0)
    is_done = await until_marks([reader for _, reader in pairs], each, 120)
    spent_s = time.perf_counter() - began_s
    await asyncio.sleep(REST_S)
    cpu_s = server.cpu_s() - before_s
    for pair in pairs:
        _close(*pair)
    return {
        "rooms /s": count * each / spent_s if is_done else 0,
        "rooms us": cpu_s / (count * each) * 1e6,
        "room kB": (full_kb - empty_kb) / count,
    }


async def storm(server: Running, quick: int) -> Row:
    """1,000 clients connect at once to 100 rooms: until all are in sync."""
    count = 300 if quick else 1000
    began_s = time.perf_counter()
    clients = await asyncio.gather(*[Client(server, f"storm-{n % 100}").connect() for n in range(count)])
    spent_s = time.perf_counter() - began_s
    _close(*clients)
    return {"storm ms": spent_s * 1000}


async def tokens(server: Running, quick: int) -> Row:
    """A text streamed token by token by one writer to one reader: updates a second, disk against the text."""
    count = 10_000 if quick else 40_000
    [reader], writer = await _clients(server, "tokens", 1), await Client(server, "tokens").connect()
    # Marks alone are compressed to nothing.
    updates = make_updates(count, has_noise=True)
    began_s = time.perf_counter()
    for at in range(0, count, 50):
        writer.write_frames(b"".join(map(writer.frame, updates[at : at + 50])))
        await asyncio.sleep(0)
    await until_marks([reader], count, 120)
    spent_s = time.perf_counter() - began_s
    await asyncio.sleep(REST_S)
    _close(reader, writer)
    server.compact()
    document: pycrdt.Doc[object] = pycrdt.Doc()
    document.apply_update(pycrdt.merge_updates(*updates))
    document_bytes = len(document.get_update())
    return {"tokens /s": count / spent_s, "disk / document": server.disk_bytes() / document_bytes}


async def reconnect(server: Running, quick: int) -> Row:
    """A client comes back that missed 20 updates: bytes both ways, behind the HTTP request."""
    del quick
    updates = make_updates(120)
    other, writer = await Client(server, "again").connect(), await Client(server, "again").connect()
    for update in updates:
        writer.write_frames(writer.frame(update))
    await until_marks([other], len(updates))
    state_vector = pycrdt.get_state(pycrdt.merge_updates(*updates[:100]))
    back = await Client(server, "again", state_vector).connect()
    await asyncio.sleep(1)
    _close(other, writer, back)
    if back.marks != 20:
        raise RuntimeError(f"{back.marks} updates came, and not 20")
    return {"reconnect bytes": back.sent_bytes + back.received_bytes}


async def fill(server: Running, update: bytes) -> None:
    """Have a server store a long conversation."""
    writer = await Client(server, "cold").connect()
    writer.write_frames(writer.frame(update))
    # Some say when it is stored, and some store later; all have these seconds.
    await asyncio.sleep(10)
    _close(writer)
    await asyncio.sleep(1)


async def cold(server: Running, quick: int) -> Row:
    """10,000 messages that no process has in memory yet: until a client has them; the server's memory."""
    count = 1000 if quick else 10_000
    began_s = time.perf_counter()
    client = await Client(server, "cold").connect()
    await until_marks([client], count)
    spent_s = time.perf_counter() - began_s
    _close(client)
    return {"cold ms": spent_s * 1000, "cold MB": server.memory_kb() / 1024}


FIGURES: dict[str, Callable[[Running, int], Awaitable[Row]]] = {
    "steady": steady,
    "full": full,
    "in-flight": in_flight,
    "rooms": rooms,
    "storm": storm,
    "tokens": tokens,
    "reconnect": reconnect,
    "cold": cold,
}


def measure(name: str, figure: str, *, quick: int) -> Row:
    """Measure one figure of one server, on a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        if figure == "cold":
            update = make_conversation(1000 if quick else 10_000)
            with running(name, data) as server:
                asyncio.run(fill(server, update))
        with running(name, data) as server:
            return asyncio.run(FIGURES[figure](server, quick))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", action="append", choices=SERVERS, help="only this one; may be repeated")
    parser.add_argument("--figure", action="append", choices=FIGURES, help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="smaller loads")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    print(versions())
    results: dict[str, Row] = {}
    for name in chosen.server or SERVERS:
        row = results.setdefault(name, {})
        for figure in chosen.figure or FIGURES:
            try:
                row |= measure(name, figure, quick=chosen.quick)
            except (TimeoutError, RuntimeError, OSError) as error:
                print(f"{name}: {figure}: {type(error).__name__} {error}")
            print(name, figure, {key: round(value, 2) for key, value in row.items()}, flush=True)
    columns = list(dict.fromkeys(key for row in results.values() for key in row))
    print("| server |", " | ".join(columns), "|")
    for name, row in results.items():
        print(f"| {name} |", " | ".join(f"{row[key]:.4g}" if key in row else "-" for key in columns), "|")


if __name__ == "__main__":
    main()
