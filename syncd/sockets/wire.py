"""
What carries messages of one WebSocket: uvicorn's protocol directly, or any ASGI server.

``WireProtocol`` is uvicorn's own WebSocket protocol with a door of its own: served by it
(``uvicorn.Config(ws=WireProtocol)``), a message goes from the socket to its reader, and from a
writer to the socket, without a task, a queue and an event for each. The application's task ends
when the reader is there, and all that it took to let the client in leaves memory. Under any other
server the same application runs over ASGI events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

EXTENSION: Final = "syncd.wire"
HIGH_WATER_BYTES: Final = 256 * 1024
"""With more than this waiting for the peer, a wire is congested."""

ABNORMAL: Final = 1006
"""The code that stands for a connection that broke, without any."""

# RFC 6455: a close frame carries 125 bytes, two of them the code.
_MAX_REASON_BYTES = 123


class Outgoing:
    """A message on its way out, encoded once for however many sockets."""

    __slots__ = ("_data", "encoded", "tail")

    def __init__(self, data: bytes, tail: bytes = b"") -> None:
        """
        Encode a message.

        Args:
            data: The message, or its beginning.
            tail: The rest of it, which is not copied: a long answer is as long as its document.
        """
        self._data = data
        self.tail = tail
        self.encoded = _head(len(data) + len(tail)) + data
        """The message as a WebSocket frame of a server, up to ``tail``."""

    def __len__(self) -> int:
        return len(self._data) + len(self.tail)

    @property
    def data(self) -> bytes:
        """The message in one piece."""
        return self._data + self.tail if self.tail else self._data


def _head(length: int) -> bytes:
    # RFC 6455, section 5.2: final, binary, without a mask.
    if length < 126:
        return bytes((0x82, length))
    if length < 1 << 16:
        return b"\x82\x7e" + length.to_bytes(2, "big")
    return b"\x82\x7f" + length.to_bytes(8, "big")


class Reader(Protocol):
    """Who reads a wire. No method may raise."""

    def receive(self, data: bytes) -> None:
        """Take a binary message."""

    def receive_text(self) -> None:
        """Hear that a text came."""

    def drained(self) -> None:
        """Hear that the wire is not congested any more."""

    def ended(self, code: int) -> None:
        """Hear, once and last, that either end has closed, with which code, or ``ABNORMAL``."""


class Wire(Protocol):
    """One WebSocket that was accepted. Only ``run`` waits; nothing raises when the peer is gone."""

    @property
    def is_congested(self) -> bool:
        """Whether the peer reads more slowly than we write."""

    def write(self, message: Outgoing, times: int = 1) -> None:
        """Send a message, so many times over; one with a tail once."""

    def offer(self, message: Outgoing) -> bool:
        """Send a message without a tail, unless the wire is congested; returns whether it was not."""

    def close(self, code: int, reason: str) -> None:
        """Close behind what was written."""

    def abort(self) -> None:
        """End the connection now; what was written may be lost."""

    def pause(self) -> None:
        """Read nothing for now: the peer's socket fills up."""

    def resume(self) -> None:
        """Read on."""

    async def run(self, reader: Reader) -> None:
        """Hand on what comes, until either end closes; may return before, where it goes on by itself."""


class Asgi(Protocol):
    """What a wire needs of a WebSocket, accepted or opened from here, as Starlette's has it."""

    async def receive(self) -> Any:
        """Return the next ASGI event."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a message; raises ``RuntimeError`` or ``WebSocketDisconnect`` when the peer is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Close."""


def wire_of(websocket: WebSocket) -> Wire:
    """Return the wire of a WebSocket that was accepted, the fast one where the server has it."""
    protocol = websocket.scope.get("extensions", {}).get(EXTENSION)
    return ServerWire(protocol) if isinstance(protocol, WireProtocol) else AsgiWire(websocket)


class _Always(asyncio.Event):
    """Stands where uvicorn tells the application that it may write: nobody waits for that any more."""

    def __init__(self) -> None:
        # Not an event's own: nothing of an event loop is made at import time.
        pass

    def set(self) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""


class WireProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket protocol; once a reader is there, messages go straight to it."""

    reader: Reader | None = None
    is_congested = False
    """Whether the transport has more to send than it should."""
    writable: asyncio.Event = _Always()

    def handle_connect(self, event: Any) -> None:
        """Begin, and tell the application that it may talk to us."""
        super().handle_connect(event)
        scope = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = self

    async def run_asgi(self) -> None:
        """Serve the application; where it left a reader here, the connection goes on without it."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application")
            self.send_500_response()
        else:
            if not self.handshake_complete:
                self.send_500_response()
        if self.reader is None and self.close_timer is None:
            self.transport.close()

    def hand_over(self, reader: Reader) -> None:
        """Let a reader have all that comes, and what waits, and keep no more than that takes."""
        waiting, self.queue = self.queue, _Ending(self, reader)
        self.reader = reader
        # The library's parser still holds the request.
        self.request.headers.clear()
        del self.writable, self.scope, self.request, self.response
        while not waiting.empty():
            event = waiting.get_nowait()
            if event["type"] == "websocket.disconnect":
                self.queue.put_nowait(event)
            else:
                hand_on(event, reader)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def send_receive_event_to_app(self) -> None:
        """Hand a message to its reader."""
        reader = self.reader
        if reader is None:
            super().send_receive_event_to_app()
            return
        frames, self.frames = self.frames, []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "text":
            reader.receive_text()
        else:
            reader.receive(frames[0] if len(frames) == 1 else b"".join(frames))

    def pause_writing(self) -> None:
        """Hear from the transport that the peer lags."""
        super().pause_writing()
        self.is_congested = True

    def resume_writing(self) -> None:
        """Hear from the transport that the peer caught up."""
        super().resume_writing()
        self.is_congested = False
        if self.reader is not None:
            self.reader.drained()


class _Ending(asyncio.Queue[Any]):
    """Stands where uvicorn tells the application of events: the only one that is left is the end."""

    def __init__(self, protocol: WireProtocol, reader: Reader) -> None:
        # Not a queue's own: its deques take more memory than all the rest of a connection.
        self._protocol = protocol
        self._reader: Reader | None = reader

    def put_nowait(self, item: Any) -> None:
        """Hear of the end; of two the first counts."""
        reader, self._reader = self._reader, None
        if reader is not None:
            # Not at once: whoever closes it may be in the middle of something.
            self._protocol.loop.call_soon(reader.ended, self._code(item["code"]))

    def _code(self, code: int) -> int:
        # Uvicorn says 1005, an empty close frame, of a connection that broke.
        is_broken = code == CloseCode.NO_STATUS_RCVD and self._protocol.conn.close_rcvd is None
        return ABNORMAL if is_broken else code


class ServerWire:
    """A wire straight to uvicorn's protocol."""

    def __init__(self, protocol: WireProtocol) -> None:
        self._protocol = protocol
        self._closing: tuple[int, str] | None = None
        protocol.transport.set_write_buffer_limits(HIGH_WATER_BYTES)

    @property
    def is_congested(self) -> bool:
        """Whether the transport has more to send than it should."""
        return self._protocol.is_congested

    def write(self, message: Outgoing, times: int = 1) -> None:
        """Send a message, so many times over."""
        if self._closing is None:
            self._protocol.transport.write(message.encoded if times == 1 else message.encoded * times)
            if message.tail:
                self._protocol.transport.write(message.tail)

    def offer(self, message: Outgoing) -> bool:
        """Send a message, unless the wire is congested: what is done most, in as few steps as can be."""
        protocol = self._protocol
        if protocol.is_congested:
            return False
        if self._closing is None:
            protocol.transport.write(message.encoded)
        return True

    def close(self, code: int, reason: str) -> None:
        """Close behind what was written."""
        protocol = self._protocol
        if self._closing is None:
            self._closing = (code, short(reason))
            if not protocol.transport.is_closing() and not protocol.close_sent:
                protocol.conn.send_close(*self._closing)
                protocol.transport.write(b"".join(protocol.conn.data_to_send()))
                protocol.close_sent = True
                protocol.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
                protocol.transport.resume_reading()
                protocol.close_timer = protocol.loop.call_later(
                    protocol.close_timeout, protocol.transport.abort
                )

    def abort(self) -> None:
        """End the connection now."""
        self._protocol.transport.abort()

    def pause(self) -> None:
        """Read nothing for now."""
        self._protocol.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._protocol.transport.resume_reading()

    async def run(self, reader: Reader) -> None:
        """Hand on what comes until either end closes; returns at once."""
        self._protocol.hand_over(reader)


class AsgiWire:
    """A wire over ASGI events, with a task that writes."""

    def __init__(self, websocket: Asgi) -> None:
        self._websocket = websocket
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._was_congested = False
        self._closing: tuple[int, str] | None = None
        self._wake = anyio.Event()
        self._may_read = anyio.Event()
        self._may_read.set()
        self._scope = anyio.CancelScope()
        self._code: int = ABNORMAL

    @property
    def is_congested(self) -> bool:
        """Whether more waits than should."""
        return self._queued_bytes > HIGH_WATER_BYTES

    def write(self, message: Outgoing, times: int = 1) -> None:
        """Send a message, so many times over."""
        if self._closing is None:
            self._queue.extend([message.data] * times)
            self._queued_bytes += len(message) * times
            self._was_congested = self._was_congested or self.is_congested
            self._wake.set()

    def offer(self, message: Outgoing) -> bool:
        """Send a message, unless the wire is congested."""
        is_free = not self.is_congested
        if is_free:
            self.write(message)
        return is_free

    def close(self, code: int, reason: str) -> None:
        """Close behind what was written."""
        if self._closing is None:
            self._closing = (code, short(reason))
        self._wake.set()
        self._may_read.set()

    def abort(self) -> None:
        """Close without what waits: an ASGI server has nothing harder."""
        self._queue.clear()
        self._scope.cancel()

    def pause(self) -> None:
        """Read nothing for now."""
        self._may_read = anyio.Event()

    def resume(self) -> None:
        """Read on."""
        self._may_read.set()

    async def run(self, reader: Reader) -> None:
        """Hand on what comes until either end closes."""
        # Two tasks: if the reader also sent, two peers with full buffers would each wait for the other.
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write, reader.drained, tasks.cancel_scope)
                    await self._read(reader)
                    tasks.cancel_scope.cancel()
        finally:
            reader.ended(self._closing[0] if self._closing is not None else self._code)

    async def _read(self, reader: Reader) -> None:
        while True:
            await self._may_read.wait()
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                self._code = event.get("code", self._code)
                return
            hand_on(event, reader)

    async def _write(self, drained: Callable[[], None], scope: anyio.CancelScope) -> None:
        try:
            while self._queue or self._closing is None:
                await self._write_queued(drained)
            await self._websocket.close(*self._closing)
        except (WebSocketDisconnect, RuntimeError):
            # Starlette raises RuntimeError for a send after the peer has gone.
            pass
        scope.cancel()

    async def _write_queued(self, drained: Callable[[], None]) -> None:
        while self._queue:
            data = self._queue.popleft()
            await self._websocket.send_bytes(data)
            self._queued_bytes -= len(data)
        if self._was_congested:
            self._was_congested = False
            drained()
        if self._closing is None and not self._queue:
            self._wake = anyio.Event()
            await self._wake.wait()


def hand_on(event: Any, reader: Reader) -> None:
    """Give an ASGI event to a reader."""
    data = event.get("bytes")
    if data is None:
        reader.receive_text()
    else:
        reader.receive(data)


def short(reason: str) -> str:
    """Return as much of a reason as fits into a close frame."""
    return reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
