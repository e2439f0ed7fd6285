"""
``python -m bench``: measure what this version claims, beside its peers in the same run.

Prints the tables of ``bench/RESULTS.md``. Each peer runs in a process of its own, one after
another; one that is not installed is left out, and said so. ``python -m bench ours`` measures
only what has no peer.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Sequence

from bench import ours
from bench.peers import PEERS

COUNTS = (100, 1_000, 10_000)
# Minutes to hours each, and tens of gigabytes for one of them.
TOO_SLOW_AT = {"langgraph": 10_000, "langgraph-delta": 10_000, "llm": 10_000}
COLUMNS = ("append_ms", "load_ms", "disk_mb", "memory_write_mb", "memory_peak_mb")
FORK_COLUMNS = ("reply_ms", "read_all_ms", "disk_mb")


def figures(name: str, what: str) -> dict[str, object]:
    """Return the figures of one peer, or why there are none."""
    command = [sys.executable, "-m", "bench.peers", name, what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    missing = "No module named" in last
    return {"cannot": "not installed (bench/requirements.txt)" if missing else last[:80]}


def row(cells: Sequence[object]) -> None:
    """Print one row of a table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def head(*cells: str) -> None:
    """Print the head of a table."""
    print()
    row(cells)
    row(["---"] * len(cells))


def shown(found: dict[str, object], columns: Sequence[str]) -> list[object]:
    """Return the cells of a peer's row."""
    if "cannot" in found:
        return [found["cannot"], *[""] * (len(columns) - 1)]
    return [found[column] for column in columns]


def compare() -> None:
    """Measure every peer, at every length and as a fork."""
    head(
        "messages",
        "store",
        "one more, ms",
        "load, read tail, ms",
        "disk, MB",
        "memory writing, MB",
        "and reading, MB",
    )
    for count in COUNTS:
        for name in PEERS:
            if count < TOO_SLOW_AT.get(name, count + 1):
                row([f"{count:,}", name, *shown(figures(name, str(count)), COLUMNS)])
    head("fork: 20 messages, 200 replies", "one reply, ms", "read all 200, ms", "disk, MB")
    for name in PEERS:
        row([name, *shown(figures(name, "fork"), FORK_COLUMNS)])


def main() -> None:
    """Print the tables."""
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores,"
        f" {platform.machine()}, an fsync of {ours.fsync_ms():.2f} ms"
    )
    if "ours" not in sys.argv[1:]:
        compare()
    head("figure", "crdt-conv")
    for figure, value in ours.measure():
        row([figure, value])


if __name__ == "__main__":
    main()
