"""pycrdt-websocket with its SQLite store, under uvicorn: PORT FILE."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from pycrdt.store import SQLiteYStore, YDocNotFound
from pycrdt.websocket import ASGIServer, WebsocketServer, YRoom

port, file = int(sys.argv[1]), sys.argv[2]


class Store(SQLiteYStore):
    """One file for all rooms."""

    db_path = file


class Rooms(WebsocketServer):
    """Rooms that are stored, and read again."""

    def __init__(self) -> None:
        super().__init__(auto_clean_rooms=False)
        self._opening = asyncio.Lock()

    async def get_room(self, name: str) -> YRoom:
        """Return a room with what is stored of it."""
        # One at a time: of two clients at once the second finds the room running already, and is dropped.
        async with self._opening:
            if name not in self.rooms:
                store = Store(name)
                room = self.rooms[name] = YRoom(ready=False, ystore=store)
                await self.start_room(room)
                # The room starts its store in a task; and two that make the table are in each other's way.
                await store.started.wait()
                await store.db_initialized.wait()
                with suppress(YDocNotFound):
                    await store.apply_updates(room.ydoc)
                room.ready = True
        return self.rooms[name]


async def main() -> None:
    """Serve."""
    rooms = Rooms()
    app: Any = ASGIServer(rooms)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="websockets-sansio"))
    async with rooms:
        await server.serve()


asyncio.run(main())
