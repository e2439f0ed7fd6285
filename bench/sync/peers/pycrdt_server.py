"""pycrdt-websocket with its SQLite store, under uvicorn: PORT FILE."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn
from pycrdt.store import SQLiteYStore
from pycrdt.websocket import ASGIServer, WebsocketServer, YRoom

port, file = int(sys.argv[1]), sys.argv[2]


class Store(SQLiteYStore):
    """One file for all rooms."""

    db_path = file


class Rooms(WebsocketServer):
    """Rooms that are stored."""

    async def get_room(self, name: str) -> YRoom:
        """Return a room with a store."""
        if name not in self.rooms:
            self.rooms[name] = YRoom(ready=True, ystore=Store(name))
        room = self.rooms[name]
        await self.start_room(room)
        return room


async def main() -> None:
    """Serve."""
    rooms = Rooms(auto_clean_rooms=False)
    app: Any = ASGIServer(rooms)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="websockets-sansio"))
    async with rooms:
        await server.serve()


asyncio.run(main())
