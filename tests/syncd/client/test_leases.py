"""Leases of a daemon, as its client sees them: none before all that it was granted upon is here."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from crdt_conv import Conversation, Run, Target
from syncd.client.leases import Granted, SharedGrants, granted_of
from syncd.errors import SyncRefused, SyncTimeout
from tests.replicas import copy_of, replica

pytestmark = pytest.mark.anyio


class Daemon:
    """Grants what it is told to, or can't be reached."""

    def __init__(self, granted: Callable[[], Granted | None]) -> None:
        self._granted = granted
        self.released: list[str] = []

    async def acquire_lease(self, conversation: str, run: str, owner: str, ttl_s: float) -> Granted | None:
        return self._granted()

    async def release_lease(self, conversation: str, run: str, owner: str) -> None:
        self.released.append(run)


def behind() -> tuple[Conversation, Conversation, Run]:
    """Return a replica, one that has more, and a run."""
    ours = replica()
    ours.append("user", "Where?")
    run = ours.runs.request(Target("a"))
    theirs = copy_of(ours)
    theirs.append("assistant", "Rome.", parents=run.parents)
    return ours, theirs, run


async def test_who_lags_waits_for_what_the_last_owner_wrote() -> None:
    """The lease is there with it, and not before."""
    ours, theirs, run = behind()
    grants = SharedGrants(Daemon(lambda: Granted(2, theirs.state_vector)), lambda _: True)
    got: list[int | None] = []

    async def acquire() -> None:
        got.append(await grants.acquire(ours, run.id, "me", 60))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(acquire)
        await anyio.wait_all_tasks_blocked()
        ours.append("user", "Still there?")
        await anyio.wait_all_tasks_blocked()
        assert got == []
        ours.receive(theirs.encode(), "theirs")
    assert got == [2]


async def test_what_does_not_come_is_not_waited_for_long() -> None:
    """Cut off between the grant and what it needs, it asks again another time."""
    ours, theirs, run = behind()
    grants = SharedGrants(Daemon(lambda: Granted(2, theirs.state_vector)), lambda _: True)
    assert await grants.acquire(ours, run.id, "me", 0.01) is None


async def test_no_grant_is_no_fault() -> None:
    """Another has it; and who can't be reached, or refuses, has said neither yes nor no."""
    ours, _, run = behind()
    assert await SharedGrants(Daemon(lambda: None), lambda _: True).acquire(ours, run.id, "me", 15) is None
    for error in (SyncTimeout("away"), SyncRefused("no", 403)):

        def fail(error: Exception = error) -> Granted | None:
            raise error

        with pytest.raises(ConnectionError):
            await SharedGrants(Daemon(fail), lambda _: True).acquire(ours, run.id, "me", 15)


@pytest.mark.parametrize("is_in_sync", [True, False])
async def test_a_lease_is_given_back_with_what_was_written(*, is_in_sync: bool) -> None:
    """While the daemon lacks some of it, others must not begin."""
    ours, _, run = behind()
    daemon = Daemon(lambda: None)
    await SharedGrants(daemon, lambda _: is_in_sync).release(ours, run.id, "me")
    assert daemon.released == ([run.id] if is_in_sync else [])


@pytest.mark.parametrize("told", [{}, {"epoch": "1", "state_vector": ""}, {"epoch": 1, "state_vector": "xy"}])
def test_what_is_no_lease_is_refused(told: dict[str, object]) -> None:
    """Some other server answered."""
    with pytest.raises(SyncRefused):
        granted_of(told)
