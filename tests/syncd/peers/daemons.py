"""Daemons that know each other, inside the test's process: real applications on real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from crdt_conv import Conversation, Store
from syncd.app import create_app
from syncd.auth import Gate, TokenGate
from syncd.daemon import url_of
from syncd.hub import Hub
from syncd.peers import Peer, PeerAddress, Peering
from syncd.server import Server
from tests.replicas import texts
from tests.syncd.servers import TOKEN, free_port


@dataclass
class Node:
    """One daemon that runs."""

    store: Store
    hub: Hub
    url: str
    peers: Sequence[Peer]

    def texts(self, name: str = "c") -> list[str]:
        """Return what a conversation says here."""
        return texts(self.conversation(name).log().messages) if self.store.engine.has(name) else []

    def conversation(self, name: str = "c") -> Conversation:
        self.hub.follower.catch_up_with(name)
        return self.store.open(name)

    @property
    def traffic(self) -> tuple[int, int, int]:
        """What grows with every update that moves: received, relayed, and sent to peers."""
        counters = self.hub.counters
        return counters.received, counters.relayed, sum(peer.sent for peer in self.peers)

    @property
    def is_settled(self) -> bool:
        return all(peer.state == "in sync" for peer in self.peers) and not self.hub.commits.waiting


@asynccontextmanager
async def node(
    path: Path,
    *peers: str,
    port: int = 0,
    token: str = TOKEN,
    gate: Gate | None = None,
    idle_s: float = 30.0,
) -> AsyncIterator[Node]:
    """Run a daemon on a store, with peers by their URLs."""
    with Store(path) as store, socket.create_server(("127.0.0.1", port)) as listener:
        hub = Hub(store, gate or TokenGate(TOKEN), sweep_s=0.05)
        peering = Peering(hub, [PeerAddress.parse(url, token) for url in peers], idle_s=idle_s)
        server = Server(create_app(hub), hub.limits)
        async with hub.running(), server.serving(listener), peering.running():
            yield Node(store, hub, url_of(listener), peering.peers)


@asynccontextmanager
async def net(folder: Path, edges: Sequence[tuple[int, int]], count: int) -> AsyncIterator[list[Node]]:
    """Run so many daemons; an edge is from the one that connects to the other."""
    ports = [free_port() for _ in range(count)]
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                node(
                    folder / f"{number}.db",
                    *(f"http://127.0.0.1:{ports[to]}" for start, to in edges if start == number),
                    port=ports[number],
                )
            )
            for number in range(count)
        ]
