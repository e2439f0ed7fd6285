"""The leases of a daemon's runs: for the executor in it, and for those that are its clients."""

from __future__ import annotations

from crdt_conv import Conversation
from crdt_conv.ids import RunId
from syncd.hub import Hub


class HubGrants:
    """Grants what the daemon's store counts; see ``adapters.executor.leases.Grants``."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def acquire(self, conversation: Conversation, run: RunId, owner: str, ttl_s: float) -> int | None:
        """Take or renew a lease; nothing while another holds it, or where the run is over."""
        return self.grant(conversation, run, owner, ttl_s)

    async def release(self, conversation: Conversation, run: RunId, owner: str) -> None:
        """End a lease."""
        del conversation  # Runs' ids are unique.
        self._hub.store.leases.release(f"run:{run}", owner)

    def grant(self, conversation: Conversation, run: RunId, owner: str, ttl_s: float) -> int | None:
        """
        Take or renew a lease at once.

        Raises:
            UnknownRun: It is not here.
            StoreError: It could not be made durable.
        """
        # What its last owner wrote was acknowledged before it gave the lease back.
        self._hub.follower.catch_up_with(conversation.id)
        if conversation.runs[run].is_over:
            return None
        # This machine's clock alone counts: an owner's own may be off by years.
        return self._hub.store.leases.acquire(f"run:{run}", owner, ttl_s)
