"""
One WebSocket as a room sees it: a bounded queue, a task that sends and one that reads.

Two tasks, since if the reader also sent its replies, two peers with full buffers
would each wait for the other to read.
"""

from __future__ import annotations

import time
from collections import deque

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from syncd.protocol import CloseCode
from syncd.rooms import Room

MAX_QUEUED_BYTES = 16 * 1024 * 1024
"""What may wait for a slow reader before its socket is closed with 1013."""

# RFC 6455: a close frame carries 125 bytes, two of them the code.
_MAX_REASON_BYTES = 123


class Socket:
    """A ``rooms.Connection`` over a Starlette WebSocket that was accepted."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._closing: tuple[int, str] | None = None
        self._wake = anyio.Event()

    def send(self, frame: bytes) -> None:
        """Queue a frame; too many for a slow reader close the socket."""
        if self._closing is not None:
            return
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        if self._queued_bytes > MAX_QUEUED_BYTES:
            self._queue.clear()
            self.close(CloseCode.TRY_AGAIN_LATER, "too slow: come back and catch up")
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Close after what is queued."""
        if self._closing is None:
            self._closing = (code, reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore"))
        self._wake.set()

    async def run(self, room: Room) -> None:
        """Carry frames both ways until either end closes."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write, tasks.cancel_scope)
            await self._read(room)
            tasks.cancel_scope.cancel()

    async def _write(self, scope: anyio.CancelScope) -> None:
        try:
            while self._queue or self._closing is None:
                await self._write_queued()
            await self._websocket.close(*self._closing)
        except (WebSocketDisconnect, RuntimeError):
            # Starlette raises RuntimeError for a send after the peer has gone.
            pass
        scope.cancel()

    async def _write_queued(self) -> None:
        while self._queue:
            frame = self._queue.popleft()
            await self._websocket.send_bytes(frame)
            self._queued_bytes -= len(frame)
        if self._closing is None:
            self._wake = anyio.Event()
            await self._wake.wait()

    async def _read(self, room: Room) -> None:
        while True:
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                return
            data = event.get("bytes")
            if data is None:
                self.close(CloseCode.BAD_FRAME, "frames are binary")
            else:
                room.receive(self, data, time.monotonic())
