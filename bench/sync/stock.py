"""Stock JavaScript clients that write through every kill: the providers of y-websocket and Hocuspocus."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.e2e.programs import StockClient, node_is_missing

# Version 3 of Hocuspocus' provider is left out: in Node it ends when an attempt to connect is cut off.
DIALECTS = ("y-websocket", "hocuspocus-4")
TOKEN = "bench"
AT_ONCE = 5
"""So many messages are written between two questions whether all is saved."""


class _Client(StockClient):
    """One that waits through several kills."""

    def _next(self, timeout_s: float = 600) -> Any:
        return super()._next(timeout_s)


class StockWriters:
    """
    One client of each kind, all in one room; what their ``settled`` covers is acknowledged.

    y-websocket 3 has no word for that: what it wrote must be there in the end.
    """

    def __init__(self, port: int, room: str) -> None:
        self.room = room
        self._url = f"ws://127.0.0.1:{port}"
        self.is_missing = node_is_missing()
        self._clients: dict[str, StockClient] = {}
        self._acknowledged: set[str] = set()
        self._written: dict[str, list[str]] = {dialect: [] for dialect in DIALECTS}
        self._stopping = threading.Event()
        self._busy: dict[str, threading.Thread] = {}

    def acknowledged(self) -> set[str]:
        """Return the ids of messages that are on disk, as their writers say."""
        return set(self._acknowledged)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write until this ends; a client that waits for the server goes on waiting."""
        if self.is_missing:
            yield
            return
        self._stopping.clear()
        for dialect in DIALECTS:
            thread = self._busy.get(dialect)
            if thread is None or not thread.is_alive():
                thread = self._busy[dialect] = threading.Thread(target=self._write, args=[dialect])
                thread.start()
        try:
            yield
        finally:
            self._stopping.set()

    def _write(self, dialect: str) -> None:
        client = self._clients.get(dialect)
        if client is None:
            client = self._clients[dialect] = _Client(dialect, self._url, self.room, token=TOKEN)
        written = self._written[dialect]
        while not self._stopping.is_set():
            for _ in range(AT_ONCE):
                message = f"{dialect}-{len(written)}"
                client.do("append", id=message, parents=written[-1:], role="user", text=message)
                written.append(message)
            client.do("settled")
            if dialect != "y-websocket":
                self._acknowledged |= set(written)

    async def settle(self) -> None:
        """Wait until every client says that all is saved."""
        self._stopping.set()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._busy.values():
            thread.join(60)
        for dialect, client in self._clients.items():
            written = list(self._written[dialect])
            client.do("settled")
            self._acknowledged |= set(written)

    def close(self) -> None:
        """End the clients."""
        for client in self._clients.values():
            with suppress(OSError):
                client.close()
