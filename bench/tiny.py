"""
A stranger's update of very many tiny messages: ``python -m bench.tiny --messages 1000000``.

A million takes minutes, and some ten gigabytes of memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from pycrdt import Array, Doc, Map

from bench.clock import took_ms
from crdt_conv import Conversation, Store

TINY = 100_000


def made(count: int) -> bytes:
    """Return an update of so many messages, as another program writes them, each on the one before."""
    doc: Doc[Map[object]] = Doc()
    messages = doc.get("messages", type=Map)
    with doc.transaction():
        for number in range(count):
            parents = [str(number - 1)] if number else []
            messages[str(number)] = Map({"role": "user", "parents": parents, "parts": Array([])})
    return doc.get_update()


def read(conversation: Conversation, count: int) -> None:
    """Read the end of what an update says, and count all of it."""
    assert conversation.log(last=1).length == count


def measure(path: Path, count: int) -> dict[str, float]:
    """Return what it takes to receive and read so many messages: milliseconds, CPU seconds, MB at most."""
    # In a process of its own: its memory is no part of the figure.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        update = pool.apply(made, (count,))
    with Store(path) as store:
        conversation = store.join("tiny")
        before_s = time.process_time()
        received = took_ms(lambda: conversation.receive(update))
        shown = took_ms(lambda: read(conversation, count))
        cpu_s = time.process_time() - before_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    sizes = {"update_mb": len(update) / 1e6, "peak_mb": peak_mb}
    return {"receive_ms": received, "read_ms": shown, "cpu_s": cpu_s, **sizes}


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=TINY)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, value in measure(Path(folder) / "tiny.db", options.messages).items():
            print(f"{name:12} {value:,.0f}")


if __name__ == "__main__":
    main()
