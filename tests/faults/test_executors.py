"""Several executors against one daemon, killed, cut off, with clocks of their own: drawn from a seed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.faults.simulation.executors.happenings import simulate_executors
from tests.faults.simulation.seeds import check, counted, simulated

SEEDS = 5

# A task that is cancelled before it began was never awaited; anyio leaves it to Python to say so.
pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.filterwarnings(
        "ignore:coroutine 'Executor._fulfil' was never awaited",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_question_is_answered_once(seed: int) -> None:
    """One call a run and epoch, one answer shown, the same everywhere, and none missing in the end."""
    check(simulate_executors, seed, "--executors ")


def test_everything_that_may_happen_happens() -> None:
    """Two seeds see each kind of fault, and several questions."""
    totals = counted(simulate_executors, (106, 123))
    missing = {what for what, times in totals.items() if times == 0}
    assert not missing


@pytest.mark.parametrize("flags", [[], ["--executors"]], ids=["daemon", "executors"])
def test_a_seed_tells_one_story(flags: list[str]) -> None:
    """In every process the same to the last call, whatever Python makes of the order of sets."""
    # Within a process addresses change, between two the order of strings.
    assert len({tuple(simulated(simulate_executors, 4).story) for _ in range(4)}) == 1
    command = [sys.executable, "-m", "tests.faults.simulation", *flags, "--seed", "4"]
    stories = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": salt}, check=True, capture_output=True
        ).stdout
        for salt in ("1", "3")
    ]
    assert stories[0] == stories[1]
    assert stories[0].count(b"\n") > 60
