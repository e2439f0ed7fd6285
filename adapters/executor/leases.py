"""
Leases: one owner a run, whoever else would like to.

The store grants them in one atomic statement. A lease that is not renewed ends by
itself, so a crashed owner holds nobody up; the next owner's epoch is higher, and
the earlier one stops as soon as it fails to renew.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from crdt_conv import RunId, Store
from crdt_conv.ids import now_ms

TTL_S = 15.0
RENEW_S = 5.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fulfil one run, under an epoch that only grows."""

    run: RunId
    epoch: int


class Leases:
    """The leases of one executor in one store."""

    def __init__(self, store: Store, owner: str, *, ttl_s: float = TTL_S, renew_s: float = RENEW_S) -> None:
        self.owner = owner
        self._log = store.engine
        self._ttl_ms = int(ttl_s * 1000)
        self._renew_s = renew_s

    def acquire(self, run: RunId) -> Lease | None:
        """Take a lease; nothing while another owner holds it."""
        now = now_ms()
        epoch = self._log.acquire_lease(f"run:{run}", self.owner, at_ms=now, until_ms=now + self._ttl_ms)
        return None if epoch is None else Lease(run, epoch)

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        self._log.release_lease(f"run:{lease.run}", self.owner)

    def is_held(self, lease: Lease) -> bool:
        """Renew a lease; false if it went to somebody else meanwhile."""
        return self.acquire(lease.run) == lease

    async def keep(self, lease: Lease, lost: anyio.CancelScope) -> None:
        """Renew until cancelled; cancels ``lost`` when the lease is gone."""
        while True:
            await anyio.sleep(self._renew_s)
            if not self.is_held(lease):
                lost.cancel()
                return
