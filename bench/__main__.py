"""
``python -m bench``: measure what this version claims, beside a peer in the same run.

Prints a table for ``bench/RESULTS.md``. Later issues bring the other peers.
"""

from __future__ import annotations

import math
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pycrdt import Array, Doc, Map, Text

from crdt_conv import Store

TEXT = "x" * 400
REPEATS = 200


def median_ms(act: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median time of an act, in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


class BarePeer:
    """Pycrdt and SQLite with nothing between: the floor that our own code is compared with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = full")
        self.db.execute("create table updates (seq integer primary key, data blob)")
        self.doc: Doc[Map[object]] = Doc()
        self.messages = self.doc.get("messages", type=Map)
        self.doc.observe(
            lambda event: self.db.execute("insert into updates (data) values (?)", (event.update,))
        )

    def append(self) -> None:
        """Write one message."""
        part = Map({"type": "text", "text": Text(TEXT)})
        self.messages[str(len(self.messages))] = Map({"role": "user", "parents": [], "parts": Array([part])})

    def load(self) -> None:
        """Read everything into a new document, and the last message."""
        doc: Doc[Map[object]] = Doc()
        with doc.transaction():
            for (update,) in self.db.execute("select data from updates order by seq"):
                doc.apply_update(update)
        str(doc.get("messages", type=Map)[str(len(self.messages) - 1)])


def load_ours(path: Path, conversation_id: str) -> None:
    """Open the store and read the tail."""
    with Store(path) as store:
        assert store.open(conversation_id).log().messages[-1].text


def disk_mb(path: Path) -> float:
    """Return the bytes of a store's files, in megabytes."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / 1e6


def measure(count: int) -> list[tuple[str, float, float]]:
    """Return ``(figure, ours, peer's)`` for a conversation of ``count`` messages."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.db", Path(folder) / "peer.db"
        peer = BarePeer(theirs)
        with Store(ours) as store:
            conversation = store.create("bench")
            for _ in range(count):
                conversation.append("user", TEXT)
                peer.append()
            one_more = (median_ms(lambda: conversation.append("user", TEXT)), median_ms(peer.append))
            read = median_ms(lambda: conversation.log().messages[-1], 20)
        rows = [
            (f"one more message, on disk, at {count:,}, ms", *one_more),
            (f"read the log and its digest again at {count:,}, ms", read, float("nan")),
            (
                f"load {count:,} messages and read the tail, ms",
                median_ms(lambda: load_ours(ours, conversation.id), 5),
                median_ms(peer.load, 5),
            ),
        ]
        peer.db.close()
        return [*rows, (f"disk at {count:,} messages, closed, MB", disk_mb(ours), disk_mb(theirs))]


def main() -> None:
    """Print the table."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n")
    print("| figure | crdt-conv | bare pycrdt and SQLite |\n| --- | --- | --- |")
    for count in (1_000, 10_000):
        for figure, ours, theirs in measure(count):
            print(f"| {figure} | {ours:.2f} | {'' if math.isnan(theirs) else f'{theirs:.2f}'} |", flush=True)


if __name__ == "__main__":
    main()
