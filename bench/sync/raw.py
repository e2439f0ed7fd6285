"""A raw client of one room in either dialect: what it wrote, what was acknowledged, and what it saw."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from contextlib import suppress

import pycrdt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.sync.servers import Running
from syncd.protocol.errors import RemoteProtocolError
from syncd.protocol.frames import decode_frames, encode_frame
from syncd.protocol.hocuspocus.codec import Addressed, Sync, SyncStatus, Token, decode, encode
from syncd.protocol.ysync import SyncMessage, SyncStep1, SyncStep2, Update

IN_FLIGHT = 100
"""So many updates of one client wait for their acknowledgement at most."""
_MARK = re.compile(rb"<[\w.-]+>")


def marks_in(update: bytes) -> set[str]:
    """Return the marks that an update inserts."""
    return {mark.decode() for mark in _MARK.findall(update)}


class RawClient:
    """
    One client; each of its updates inserts one mark.

    In the y-websocket dialect an update counts as acknowledged when it is sent back.
    """

    def __init__(self, server: Running, room: str, name: str, is_collab: bool) -> None:  # noqa: FBT001
        self.room = room
        self.sent: list[str] = []
        self.acknowledged: set[str] = set()
        self.delivered: set[str] = set()
        self._server = server
        self._name = name
        self._is_collab = is_collab
        self._document: pycrdt.Doc[object] = pycrdt.Doc()
        self._array = self._document.get("marks", type=pycrdt.Array)
        self._made: list[bytes] = []
        self._document.observe(lambda event: self._made.append(event.update))
        self._own: set[str] = set()
        # What each frame that waits for a SyncStatus holds.
        self._waiting: deque[set[str]] = deque()
        self._socket: ClientConnection
        self._reading: asyncio.Task[None]
        self._synced = asyncio.Event()
        self._changed = asyncio.Event()

    async def connect(self) -> None:
        """Connect, and wait until in sync."""
        self._synced.clear()
        self._waiting.clear()
        path = "/collab" if self._is_collab and self._server.name == "ours" else self._server.path
        url = f"ws://127.0.0.1:{self._server.port}{path.format(room=self.room)}"
        self._socket = await connect(
            url, max_size=None, compression=None, ping_interval=None, open_timeout=60
        )
        self._reading = asyncio.create_task(self._read())
        if self._is_collab:
            await self._socket.send(encode(self.room, Token(self._server.token, "4.7.0"), is_server=False))
        await self._send(SyncStep1(self._document.get_state()))
        await asyncio.wait_for(self._synced.wait(), 30)

    async def write(self, pause_s: float) -> None:
        """Write for as long as the server answers, with a pause behind each update."""
        number = len(self.sent)
        with suppress(ConnectionClosed):
            while True:
                if len(self.sent) - len(self.acknowledged) >= IN_FLIGHT:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                mark, number = f"<{self._name}.{number}>", number + 1
                self._made.clear()
                self._array.append(mark)
                self.sent.append(mark)
                self._own.add(mark)
                await self._send(Update(self._made[0]), {mark})
                await asyncio.sleep(pause_s)

    async def all_acknowledged(self, limit_s: float) -> bool:
        """Wait until all that was written is acknowledged; returns whether it is."""
        with suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(limit_s):
                while not self._own <= self.acknowledged:
                    self._changed.clear()
                    await self._changed.wait()
        return self._own <= self.acknowledged

    async def ended(self) -> None:
        """Wait until the connection is gone and all that came before is read."""
        await self._reading

    async def close(self) -> None:
        """End the connection."""
        await self._socket.close()
        await self._reading

    def read(self, root: str) -> list[str]:
        """Return what the document holds: the marks, or the keys of another root."""
        if root == "marks":
            return [str(value) for value in self._array]
        return list(self._document.get(root, type=pycrdt.Map).keys())

    async def _send(self, message: SyncMessage, marks: set[str] | None = None) -> None:
        if marks is not None:
            self._waiting.append(marks)
        frame = (
            encode(self.room, Sync(message), is_server=False) if self._is_collab else encode_frame(message)
        )
        await self._socket.send(frame)

    async def _read(self) -> None:
        with suppress(ConnectionClosed, RemoteProtocolError):
            async for data in self._socket:
                assert isinstance(data, bytes)
                for message in self._messages(data):
                    await self._take(message)
                self._changed.set()

    def _messages(self, data: bytes) -> list[object]:
        if not self._is_collab:
            return list(decode_frames(data))
        frame = decode(data, is_server=True)
        body = frame.body if isinstance(frame, Addressed) else frame
        return [body.message if isinstance(body, Sync) else body]

    async def _take(self, message: object) -> None:
        match message:
            case SyncStep1(state_vector):
                diff = self._document.get_update(state_vector)
                if not self._is_collab:
                    # What the server says it has, it sends back no more.
                    self.acknowledged |= self._own - marks_in(diff)
                await self._send(SyncStep2(diff), set(self._own))
            case SyncStep2(update):
                self._see(update)
                self._synced.set()
            case Update(update):
                self._see(update)
            case SyncStatus(is_stored):
                marks = self._waiting.popleft()
                if is_stored:
                    self.acknowledged |= marks

    def _see(self, update: bytes) -> None:
        marks = marks_in(update)
        self.delivered |= marks - self._own
        if not self._is_collab:
            self.acknowledged |= marks & self._own
        if not self._name or not marks <= self._own:
            self._document.apply_update(update)
