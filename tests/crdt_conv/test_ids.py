"""Ids and the clock."""

from __future__ import annotations

from crdt_conv.clock import HybridClock
from crdt_conv.ids import merge_id, new_id


def test_ids_sort_by_time() -> None:
    """A later id is a greater string of 26 characters."""
    early, late = new_id(1_000), new_id(2_000)
    assert early < late
    assert len(early) == len(late) == 26


def test_a_merge_id_depends_on_what_is_merged() -> None:
    """The same merge has the same id; another branch, order or time has another."""
    same = merge_id("main", ["a", "b"], 5)
    assert same == merge_id("main", ["a", "b"], 5)
    others = [
        merge_id("plan", ["a", "b"], 5),
        merge_id("main", ["b", "a"], 5),
        merge_id("main", ["a", "b"], 6),
    ]
    assert len({same, *others}) == 4


def test_the_clock_never_goes_back() -> None:
    """Wall time that stands or goes back gives later times all the same."""
    wall = iter([100, 50, 50, 300])
    clock = HybridClock(lambda: next(wall))
    first, second = clock.next(), clock.next()
    clock.see(200)
    assert (first, second, clock.next(), clock.next()) == (100, 101, 201, 300)


def test_the_clock_bears_the_end_of_time() -> None:
    """What claims to come from the last millisecond does not break the clock."""
    clock = HybridClock(lambda: 5)
    clock.see(2**53 - 1)
    assert clock.next() == clock.next() == 2**53 - 1
