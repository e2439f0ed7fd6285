"""A daemon inside the test's own process: the real application on a real socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import anyio

from crdt_conv import Store
from syncd.app import create_app
from syncd.auth import Gate, TokenGate
from syncd.daemon import url_of
from syncd.hub import Hub
from syncd.limits import Limits
from syncd.server import Server

TOKEN = "let me in"


@asynccontextmanager
async def serving(
    store: Store,
    port: int = 0,
    *,
    limits: Limits | None = None,
    origins: Collection[str] = (),
    gate: Gate | None = None,
) -> AsyncIterator[str]:
    """Serve a store; yields the URL."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        hub = Hub(store, gate or TokenGate(TOKEN), limits=limits, sweep_s=0.05)
        async with hub.running(), Server(create_app(hub, origins=origins), hub.limits).serving(listener):
            yield url_of(listener)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a claim holds; the test's own time limit is what fails it."""
    # Polled: what is waited for is a state of several programs, not an event of one.
    while not holds():  # noqa: ASYNC110
        await anyio.sleep(0.005)
