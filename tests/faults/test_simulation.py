"""Faults of every kind, drawn from a seed, over the whole daemon and its store: no promise is broken."""

from __future__ import annotations

import pytest

from tests.faults.simulation.atoms import Atoms, atoms
from tests.faults.simulation.running import simulate
from tests.faults.simulation.seeds import check, counted, simulated

SEEDS = 24


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_promise_is_broken(seed: int) -> None:
    """Nothing acknowledged is lost, nothing there twice, nothing shown too early, nothing left unanswered."""
    check(simulate, seed)


def test_the_same_seed_tells_the_same_story() -> None:
    """To the last frame: what broke once breaks again."""
    first, second = simulated(simulate, 3), simulated(simulate, 3)
    assert first.story == second.story
    assert first.counts == second.counts


def test_everything_that_may_happen_happens() -> None:
    """A few seeds together see each kind of fault, and the daemon answers meanwhile."""
    totals = counted(simulate, range(100, 103))
    assert [what for what, times in totals.items() if times == 0] == []
    assert totals["acknowledgements"] > 50


def test_the_oracle_reads_updates_by_itself() -> None:
    """As Yjs writes them: a deleted value, one behind it, a text whose second letter counts two; no half."""
    update = bytes.fromhex("01030700010101740188070001770162040101730568f09f98800107010001")
    held = {(7, clock) for clock in range(5)}
    assert atoms(update) == Atoms(frozenset(held), frozenset({(7, 0)}))
    for end in range(len(update)):
        with pytest.raises(ValueError, match="cut off"):
            atoms(update[:end])
