"""The short form of ``make fuzz``, and that the long one finds what is there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random

import pytest

from tests.fuzz.fuzzing import Finding, Tally, feed, fuzz, fuzz_in_child
from tests.fuzz.targets import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_examples_are_accepted(target: Target) -> None:
    """Every example that mutations begin with is valid."""
    assert all(feed(target, example) for example in target.examples)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_mutations_are_read_or_refused(target: Target) -> None:
    """A few hundred changed examples: nothing but the errors of its package leaves a decoder."""
    # Always the same: what is new is for the long form to find, in a process of its own.
    result = fuzz(target, Random("short"), most=300)
    assert isinstance(result, Tally), result
    assert 0 < result.accepted <= 300


def stumbles(data: bytes) -> None:
    """Raise what no decoder may, over some bytes."""
    if data.startswith(b"\xff"):
        raise KeyError(data)


def crashes(data: bytes) -> None:
    """End the process over some bytes."""
    if data.startswith(b"\xff"):
        os.abort()


def hangs(data: bytes) -> None:
    """Never come back from some bytes."""
    while data.startswith(b"\xff"):
        time.sleep(0.01)


def devours(data: bytes) -> None:
    """Take memory for some bytes, more than the tests' own process ever took: Linux counts from there."""
    if data.startswith(b"\xff"):
        bytearray(b"x") * 1_500_000_000


BROKEN = [(stumbles, "KeyError"), (crashes, "-6"), (hangs, "hangs"), (devours, " MB")]


@pytest.mark.parametrize(("broken", "says"), BROKEN)
def test_a_broken_decoder_is_found(broken: Callable[[bytes], object], says: str) -> None:
    """An error, a crash, a hang and greed: each is told with the bytes that lead there."""
    # Taking memory takes seconds, too, on a busy machine.
    hangs_s = 2 if broken is hangs else 60
    found = fuzz_in_child(Target("broken", broken, (ValueError,), (b"good",)), "1", 20, hangs_s=hangs_s)
    assert isinstance(found, Finding)
    assert found.example.startswith(b"\xff")
    assert says in found.text
