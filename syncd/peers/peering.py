"""All other daemons that this one syncs with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio

from syncd.hub import Hub
from syncd.peers.address import PeerAddress
from syncd.peers.peer import IDLE_S, Peer


class Peering:
    """The peers of a hub."""

    def __init__(self, hub: Hub, addresses: Iterable[PeerAddress], *, idle_s: float = IDLE_S) -> None:
        # By URL: the same one twice is one.
        self.peers = tuple(
            Peer(hub, address, idle_s=idle_s) for address in {each.url: each for each in addresses}.values()
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep in sync with all of them."""
        async with anyio.create_task_group() as tasks:
            for peer in self.peers:
                tasks.start_soon(peer.run)
            yield
            tasks.cancel_scope.cancel()
