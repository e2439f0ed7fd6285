"""A store's leases, when the wall clock is set."""

from __future__ import annotations

import time

import pytest

from crdt_conv import Store
from crdt_conv.leases import LONGEST_S, Leases


class Clocks:
    """A steady clock and a wall clock that a test moves."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steady_s, self.wall_s = 100.0, 1_790_000_000.0
        patch.setattr(time, "monotonic", lambda: self.steady_s)
        patch.setattr(time, "time_ns", lambda: int(self.wall_s * 1e9))

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.steady_s += seconds
        self.wall_s += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """Return clocks of the test's own."""
    return Clocks(monkeypatch)


def test_a_clock_that_is_set_on_ends_no_lease(clocks: Clocks) -> None:
    """Whoever holds it holds it to its end, and the next one's epoch is higher."""
    with Store() as store:
        assert store.leases.acquire("run", "a", 15) == 1
        clocks.wall_s += 1e6
        assert store.leases.acquire("run", "b", 15) is None
        clocks.pass_by(16)
        assert store.leases.acquire("run", "b", 15) == 2


def test_a_clock_that_is_set_back_prolongs_no_lease(clocks: Clocks) -> None:
    """A dead owner's lease ends when it would have."""
    with Store() as store:
        assert store.leases.acquire("run", "a", 15) == 1
        clocks.wall_s -= 86_400
        clocks.pass_by(14)
        assert store.leases.acquire("run", "b", 15) is None
        clocks.pass_by(2)
        assert store.leases.acquire("run", "b", 15) == 2
        assert store.leases.acquire("run", "a", 15) is None


def test_nor_does_it_across_a_restart(clocks: Clocks) -> None:
    """Who is refused by a lease of an earlier process for longer than any lasts has it."""
    with Store() as store:
        store.leases.acquire("run", "a", 15)
        clocks.wall_s -= 86_400
        restarted = Leases(store.engine)
        assert restarted.acquire("run", "b", 15) is None
        clocks.pass_by(LONGEST_S - 1)
        assert restarted.acquire("run", "b", 15) is None
        clocks.pass_by(2)
        assert restarted.acquire("run", "b", 15) == 2


def test_who_renews_meanwhile_keeps_it(clocks: Clocks) -> None:
    """Also across a restart, and however often another asks."""
    with Store() as store:
        store.leases.acquire("run", "a", 15)
        clocks.wall_s -= 86_400
        restarted = Leases(store.engine)
        for _ in range(20):
            assert restarted.acquire("run", "b", 15) is None
            assert restarted.acquire("run", "a", 15) == 1
            clocks.pass_by(10)


def test_no_lease_is_longer_than_the_longest(clocks: Clocks) -> None:
    """Whatever is asked for."""
    with Store() as store:
        store.leases.acquire("run", "a", 1e6)
        clocks.pass_by(LONGEST_S)
        assert store.leases.acquire("run", "b", 15) == 2


def test_what_is_given_back_is_free(clocks: Clocks) -> None:
    """By its owner, and by nobody else."""
    with Store() as store:
        store.leases.acquire("run", "a", 15)
        store.leases.release("run", "b")
        assert store.leases.acquire("run", "b", 15) is None
        store.leases.release("run", "a")
        assert store.leases.acquire("run", "b", 15) == 2
        clocks.pass_by(1)
