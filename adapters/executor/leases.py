"""
Leases: one owner a run, whoever else would like to.

A store grants them in one atomic statement: the executor's own, or, for one that is a
client of a daemon, the daemon's (``Grants``). A lease that is not renewed ends by
itself, so a crashed owner holds nobody up; the next owner's epoch is higher, and
the earlier one stops as soon as it fails to renew.

Who can't be reached has not said no: an owner goes on meanwhile, and a run of this
device may be begun. If another began it too, all replicas choose alike between the
answers (``Run.winner``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import anyio

from crdt_conv import Conversation, Run, RunId, Store

TTL_S = 15.0
RENEW_S = 5.0
RELEASE_S = 5.0
"""So long may it take to give a lease back; it ends by itself anyway."""


class Grants(Protocol):
    """The store that some executors share, or the way to it."""

    async def acquire(self, conversation: Conversation, run: RunId, owner: str, ttl_s: float) -> int | None:
        """
        Take or renew a lease. When it is granted, all that earlier owners wrote is here.

        Returns:
            Its epoch, one higher with every new owner; nothing where another holds it, or the run is over.

        Raises:
            ConnectionError: Whoever grants it can't be reached.
        """

    async def release(self, conversation: Conversation, run: RunId, owner: str) -> None:
        """
        End a lease, if this owner holds it.

        Raises:
            ConnectionError: Whoever granted it can't be reached.
        """


class StoreGrants:
    """The leases of a store that stands on this machine."""

    def __init__(self, store: Store) -> None:
        self._leases = store.leases

    async def acquire(self, conversation: Conversation, run: RunId, owner: str, ttl_s: float) -> int | None:
        """Take or renew a lease; see ``Grants``."""
        del conversation  # Runs' ids are unique.
        return self._leases.acquire(f"run:{run}", owner, ttl_s)

    async def release(self, conversation: Conversation, run: RunId, owner: str) -> None:
        """End a lease."""
        del conversation
        self._leases.release(f"run:{run}", owner)


@dataclass(frozen=True, slots=True)
class Lease:
    """
    The right to fulfil one run, under an epoch that only grows.

    ``granted`` is what the store counts, which may lag behind the document's epochs
    after a partition; nothing where nobody could be asked.
    """

    conversation: Conversation
    run: RunId
    epoch: int
    granted: int | None


class Leases:
    """The leases of one executor."""

    def __init__(
        self, grants: Grants, owner: str, device: str, *, ttl_s: float = TTL_S, renew_s: float = RENEW_S
    ) -> None:
        self.owner = owner
        self._grants = grants
        self._device = device
        self._ttl_s = ttl_s
        self._renew_s = renew_s

    async def acquire(self, conversation: Conversation, run: Run) -> Lease | None:
        """Take a lease; nothing while another holds it, or nobody can be asked about another device's run."""
        try:
            granted = await self._grants.acquire(conversation, run.id, self.owner, self._ttl_s)
        except ConnectionError:
            if run.requested_by != self._device:
                return None
            return Lease(conversation, run.id, run.epoch + 1, None)
        if granted is None:
            return None
        # What earlier owners wrote is here only now.
        return Lease(conversation, run.id, max(granted, conversation.runs[run.id].epoch + 1), granted)

    async def release(self, lease: Lease) -> None:
        """Give a lease back, if whoever granted it can be told."""
        with anyio.move_on_after(RELEASE_S, shield=True):
            try:
                await self._grants.release(lease.conversation, lease.run, self.owner)
            except ConnectionError:
                return

    async def is_held(self, lease: Lease) -> bool:
        """Renew a lease; false if it went to somebody else meanwhile."""
        try:
            granted = await self._grants.acquire(lease.conversation, lease.run, self.owner, self._ttl_s)
        except ConnectionError:
            return True
        return granted is not None and lease.granted in (granted, None)

    async def keep(self, lease: Lease, lost: anyio.CancelScope) -> None:
        """Renew until cancelled; cancels ``lost`` when the lease is gone."""
        while True:
            await anyio.sleep(self._renew_s)
            if not await self.is_held(lease):
                lost.cancel()
                return
