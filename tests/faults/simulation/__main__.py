"""
Simulate faults of the daemon and its store: ``python -m tests.faults.simulation --seed N`` or ``--seeds N``.

With a seed, its story is told; with a count, seeds are tried one after another, from 0 or ``--from``,
up to the first that breaks a promise, with the command that tells its story. ``--executors`` simulates
those instead: in the daemon and as its clients, killed and cut off.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable

from tests.faults.simulation.executors.happenings import simulate_executors
from tests.faults.simulation.running import Outcome, simulate


def main() -> None:
    """Run the seeds that were asked for; exits with 1 where a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, and its story")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--executors", action="store_true", help="several executors against one daemon")
    chosen = parser.parse_args()
    # The daemon says what goes wrong with its disk; that is what it is told to live through.
    logging.disable(logging.CRITICAL)
    # A task that is cancelled before it began was never awaited; anyio leaves it to Python to say so.
    warnings.filterwarnings("ignore", message="coroutine 'Executor._fulfil' was never awaited")
    run = simulate_executors if chosen.executors else simulate
    again = "python -m tests.faults.simulation" + (" --executors" if chosen.executors else "")
    if chosen.seed is not None:
        sys.exit(_tell(run(chosen.seed)))
    sys.exit(_try(run, again, range(chosen.first, chosen.first + chosen.seeds)))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _tell(outcome: Outcome) -> int:
    _say("\n".join(outcome.story))
    if outcome.error is not None:
        traceback.print_exception(outcome.error)
    _say(outcome.summary)
    return int(outcome.error is not None)


def _try(run: Callable[[int], Outcome], again: str, seeds: range) -> int:
    began_s, totals = time.perf_counter(), Counter[str]()
    for number, seed in enumerate(seeds, 1):
        outcome = run(seed)
        totals.update(outcome.counts)
        if outcome.error is not None:
            _say(f"\nseed {seed}: {outcome.error}\nagain: {again} --seed {seed}")
            return 1
        if number % 50 == 0 or number == len(seeds):
            spent_s = time.perf_counter() - began_s
            _say(f"{number} seeds in {spent_s:.0f} s: {dict(totals)}")
    return 0


if __name__ == "__main__":
    main()
