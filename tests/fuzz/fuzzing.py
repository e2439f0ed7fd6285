"""
Feeding a target: in this process, or in a child that may crash or hang.

A child notes each example before it reads it, so that its parent knows what ended it. What a
target accepts joins the examples: it reached further than noise does.
"""

from __future__ import annotations

import multiprocessing
import resource
import struct
import time
import traceback
from ctypes import Array, c_ubyte
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray
from random import Random
from typing import Any

from tests.fuzz.mutation import MAX_BYTES, mutate
from tests.fuzz.targets import Target

_HEAD = struct.Struct(">QQ")

KEPT = 500
"""So many accepted examples are kept; behind that a new one replaces an older one."""
MEMORY_BYTES = 4 << 30
GREEDY_KB = 64_000
"""No example of 64 KiB takes so much memory: a length that it announces did."""
HANGS_S = 20.0
"""No example takes so long."""


@dataclass(frozen=True)
class Tally:
    """How many examples were read, and how many of them were accepted."""

    read: int
    accepted: int


@dataclass(frozen=True)
class Finding:
    """An example that a target neither read nor refused."""

    example: bytes
    text: str


def feed(target: Target, example: bytes) -> bool:
    """
    Return whether a target accepts an example.

    Raises:
        BaseException: Whatever may not leave it.
    """
    try:
        target.feed(example)
    except target.refusals:
        return False
    return True


def fuzz(
    target: Target, chance: Random, *, most: int = 0, end_s: float = 0.0, note: Any = None
) -> Tally | Finding:
    """
    Feed mutations, so many or until some time, and stop at the first finding.

    Args:
        target: What reads them.
        chance: Makes them.
        most: How many; 0 for no end.
        end_s: When to stop, on the monotonic clock; 0 for never.
        note: Called with each before it is read.
    """
    corpus, accepted, read = list(target.examples), 0, 0
    while (not most or read < most) and (not end_s or time.monotonic() < end_s):
        example = mutate(corpus, chance)
        read += 1
        if note is not None:
            note(example)
        before_kb = _largest_kb()
        try:
            is_accepted = feed(target, example)
        except BaseException:  # noqa: BLE001 - a panic of Rust is no Exception
            return Finding(example, traceback.format_exc(limit=-6))
        if _largest_kb() - before_kb > GREEDY_KB:
            return Finding(example, f"it took {(_largest_kb() - before_kb) // 1000} MB")
        if is_accepted:
            accepted += 1
            _keep(corpus, example, len(target.examples), chance)
    return Tally(read, accepted)


def _largest_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _keep(corpus: list[bytes], example: bytes, first: int, chance: Random) -> None:
    if len(corpus) < first + KEPT:
        corpus.append(example)
    else:
        corpus[first + chance.randrange(KEPT)] = example


def fuzz_in_child(target: Target, seed: str, seconds: float, *, hangs_s: float = HANGS_S) -> Tally | Finding:
    """Fuzz in a process of its own; a crash, a hang and endless memory are findings too."""
    context = multiprocessing.get_context("spawn")
    shared = RawArray("B", _HEAD.size + MAX_BYTES)
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(target, seed, seconds, shared, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        return _await(child, ours, shared, hangs_s)
    finally:
        child.kill()
        child.join()
        ours.close()


def _await(child: Any, reports: Connection, shared: Array[c_ubyte], hangs_s: float) -> Tally | Finding:
    number, _ = _noted(shared)
    while not reports.poll(hangs_s):
        before, (number, example) = number, _noted(shared)
        if number and number == before:
            return Finding(example, f"it hangs for {hangs_s} s")
    try:
        report: Tally | Finding = reports.recv()
    except EOFError:
        child.join()
        return Finding(_noted(shared)[1], f"the process ended with {child.exitcode}")
    return report


def _noted(shared: Array[c_ubyte]) -> tuple[int, bytes]:
    """Return the number of the last example, and the example."""
    number, length = _HEAD.unpack_from(shared)
    return number, bytes(shared)[_HEAD.size :][:length]


def _work(target: Target, seed: str, seconds: float, shared: Array[c_ubyte], reports: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    view, numbers = memoryview(shared).cast("B"), count(1)

    def note(example: bytes) -> None:
        # Numbered: two examples may be the same bytes.
        view[: _HEAD.size + len(example)] = _HEAD.pack(next(numbers), len(example)) + example

    reports.send(fuzz(target, Random(seed), end_s=time.monotonic() + seconds, note=note))
