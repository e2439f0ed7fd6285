"""A seed as a test: skipped where the machine can't simulate, and told how to see it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.faults.simulation.sqlite_vfs import NotSupportedError

Simulate = Callable[[int], Any]


def simulated(simulate: Simulate, seed: int) -> Any:
    """Return what came of a seed; skips the test where SQLite can't be watched here."""
    try:
        return simulate(seed)
    except NotSupportedError as error:
        pytest.skip(str(error))


def check(simulate: Simulate, seed: int, flags: str = "") -> None:
    """Fail where a seed breaks a promise."""
    outcome = simulated(simulate, seed)
    again = f"python -m tests.faults.simulation {flags}--seed {seed}"
    assert outcome.error is None, f"{outcome.error}\nagain: {again}"


def counted(simulate: Simulate, seeds: Iterable[int]) -> Counter[str]:
    """Return how often each thing happened over some seeds, those that never did included."""
    totals: Counter[str] = Counter()
    for seed in seeds:
        totals.update(simulated(simulate, seed).counts)
    return totals
