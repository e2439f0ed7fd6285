"""Leases against a model: one owner at a time, epochs that only grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crdt_conv.store import SqliteEngine

# Who, what, how much later, for how long. Owners' clocks may step back: later may be negative.
STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(["acquire", "release"]), st.integers(-5, 10), st.integers(0, 8)
    ),
    max_size=25,
)


class Model:
    """A lease as the contract has it."""

    def __init__(self) -> None:
        self.owner, self.until, self.epoch = "", 0, 0

    def acquire(self, owner: str, now: int, until: int) -> int | None:
        is_over = not self.owner or now >= self.until
        if not is_over and owner != self.owner:
            return None
        self.epoch += int(is_over)
        self.owner, self.until = owner, until
        return self.epoch

    def release(self, owner: str) -> None:
        if owner == self.owner:
            self.until = 0


@given(STEPS)
def test_a_lease_is_what_the_model_says(steps: list[tuple[str, str, int, int]]) -> None:
    """Whoever asks whenever gets the epoch of the model, and no epoch has two owners."""
    log, model, now = SqliteEngine(":memory:"), Model(), 100
    owners: dict[int, str] = {}
    for who, what, later, ttl in steps:
        now += later
        if what == "release":
            log.release_lease("run", who)
            model.release(who)
            continue
        epoch = log.acquire_lease("run", who, at_ms=now, until_ms=now + ttl)
        assert epoch == model.acquire(who, now, now + ttl)
        if epoch is not None:
            assert owners.setdefault(epoch, who) == who
    log.close()
