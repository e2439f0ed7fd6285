"""
``python -m bench.peers NAME COUNT``: measure one peer in this process, and print a line of JSON.

One process a peer, so that the memory is its own. Linux only: it reads ``/proc``.
"""

from __future__ import annotations

import gc
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import conversations
from bench.clock import took_ms
from bench.conversations import Synthetic
from bench.peers import PEERS, Peer, open_peer

EXCHANGES = 50
LOADS = 5
WIDTH = 200


def memory_mb(field: str) -> float:
    """Return ``VmRSS`` (now) or ``VmHWM`` (the peak) of this process, in megabytes."""
    # Not getrusage: its peak outlives exec, so the child of a large process would begin with its parent's.
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) * 1024 / 1e6


def disk_mb(peer: Peer) -> float:
    """Return the bytes of a peer's files, in megabytes."""
    return sum(file.stat().st_size for file in peer.files()) / 1e6


def write(peer: Peer, messages: Sequence[Synthetic]) -> None:
    """Append one at a time."""
    for message in messages:
        peer.append(message)


def check_tail(peer: Peer, text: str) -> None:
    """Load, and see that the right message is last: a fast wrong answer is no figure."""
    assert peer.reopen_and_read_tail() == text, f"{peer.name} read another message"


def measure(name: str, count: int, folder: Path) -> dict[str, object]:
    """
    Return the figures of one peer for a conversation of ``count`` messages, an even number.

    ``append_ms`` is the median of the last 50 exchanges on the way to ``count``, halved, because one peer
    writes the two messages of an exchange together; ``append_cpu_ms`` is the CPU of the thread that asked.
    Loading and disk are those of ``count`` messages, closed.
    """
    texts = conversations.messages(count)
    # Lazy imports and caches are not the conversation's memory.
    warm = open_peer(name, folder / "warm.db")
    write(warm, texts[:2])
    check_tail(warm, texts[1].text)
    warm.close()
    gc.collect()
    before_mb = memory_mb("VmRSS")
    peer = open_peer(name, folder / "peer.db")
    exchange_ms, cpu_ms = [], []
    for place in range(0, count, 2):
        start_s = time.thread_time()
        exchange_ms.append(took_ms(partial(write, peer, texts[place : place + 2])))
        cpu_ms.append((time.thread_time() - start_s) * 1000)
    written_mb = memory_mb("VmHWM")
    peer.close()
    load_ms = [took_ms(partial(check_tail, peer, texts[-1].text)) for _ in range(LOADS)]
    return {
        "peer": name,
        "messages": count,
        "append_ms": round(statistics.median(exchange_ms[-EXCHANGES:]) / 2, 3),
        "append_cpu_ms": round(statistics.median(cpu_ms[-EXCHANGES:]) / 2, 3),
        "all_s": round(sum(exchange_ms) / 1000, 2),
        "load_ms": round(statistics.median(load_ms), 2),
        "disk_mb": round(disk_mb(peer), 3),
        "memory_write_mb": round(written_mb - before_mb, 1),
        "memory_peak_mb": round(memory_mb("VmHWM") - before_mb, 1),
    }


def measure_fork(name: str, folder: Path) -> dict[str, object]:
    """Return the figures of 20 messages with 200 replies to the last one, or why there are none."""
    trunk, replies = conversations.fork(WIDTH)
    peer = open_peer(name, folder / "peer.db")
    write(peer, trunk)
    try:
        fork_ms = took_ms(lambda: peer.fork(replies))
    except NotImplementedError as error:
        return {"peer": name, "fork": WIDTH, "cannot": str(error)}
    start = time.perf_counter()
    tails = peer.branch_tails()
    read_ms = (time.perf_counter() - start) * 1000
    assert tails == [reply.text for reply in replies], f"{name} read other branches"
    peer.close()
    return {
        "peer": name,
        "fork": WIDTH,
        "reply_ms": round(fork_ms / WIDTH, 3),
        "read_all_ms": round(read_ms, 2),
        "disk_mb": round(disk_mb(peer), 3),
    }


def main() -> None:
    """Print the figures of ``NAME COUNT``, or of ``NAME fork``."""
    match sys.argv[1:]:
        case [name, what] if name in PEERS and (what == "fork" or what.isdecimal()):
            pass
        case _:
            sys.exit(f"usage: python -m bench.peers {{{','.join(PEERS)}}} {{COUNT,fork}}")
    with tempfile.TemporaryDirectory() as folder:
        # Before llm is imported: a benchmark reads nobody's settings, keys and plugins.
        os.environ |= {"LLM_USER_PATH": folder, "LLM_LOAD_PLUGINS": ""}
        figures = (
            measure_fork(name, Path(folder)) if what == "fork" else measure(name, int(what), Path(folder))
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
