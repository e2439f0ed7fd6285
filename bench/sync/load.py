"""
The load: raw clients in both dialects, the same for every server and cheap enough not to matter.

Updates are made before the clock starts. An update inserts one marked text; how many a client has is
how many marks came in, so that merged updates count for what they hold.
"""

from __future__ import annotations

import asyncio
import random
import string

import pycrdt
from websockets.frames import Frame, Opcode

from bench.conversations import messages
from bench.sync.servers import Running
from crdt_conv import Store

MARK = b"<mark-10b>"


def make_updates(count: int, *, has_noise: bool = False) -> list[bytes]:
    """Return updates of one replica, each adding a mark as a token would be added, with noise or without."""
    noise = random.Random(1)
    document: pycrdt.Doc[object] = pycrdt.Doc()
    text = document.get("t", type=pycrdt.Text)
    made: list[bytes] = []
    subscription = document.observe(lambda event: made.append(event.update))
    mark = MARK.decode()
    for _ in range(count):
        text += mark + "".join(noise.choices(string.ascii_lowercase, k=6)) if has_noise else mark
    document.unobserve(subscription)
    return made


def make_conversation(count: int) -> bytes:
    """Return a conversation of so many messages with a mark in each, as one update."""
    with Store(":memory:") as store:
        conversation = store.create("a long one")
        for message in messages(count):
            conversation.append(message.role, f"{MARK.decode()} {message.text}")
        return conversation.encode()


def var_bytes(data: bytes) -> bytes:
    """Return bytes behind their length."""
    length, head = len(data), bytearray()
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + data


class Client(asyncio.Protocol):
    """One raw client of one room."""

    def __init__(self, server: Running, room: str, state_vector: bytes = b"\x00") -> None:
        self._server = server
        self._room = room
        self._state_vector = state_vector
        self._is_open = False
        self._buffer = bytearray()
        self._transport: asyncio.Transport
        self._address = var_bytes(room.encode()) if server.is_hocuspocus else b""
        self.marks = 0
        self.received_bytes = self.sent_bytes = 0
        """Both from behind the HTTP request."""
        self.acknowledged = 0
        self.synced = asyncio.Event()
        self.changed = asyncio.Event()
        self.times: list[float] | None = None

    async def connect(self) -> Client:
        """Connect, and wait until in sync."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._server.port)
        await asyncio.wait_for(self.synced.wait(), 60)
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        path = self._server.path.format(room=self._room)
        transport.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._server.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take frames apart; only what is counted is looked at."""
        self._buffer += data
        self.received_bytes += len(data)
        if not self._is_open:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            del self._buffer[: end + 4]
            self.received_bytes = len(self._buffer)
            self._is_open = True
            if self._server.is_hocuspocus:
                token = var_bytes(self._server.token.encode())
                self.write(self._address + b"\x02\x00" + token + var_bytes(b"4.7.0"))
            self.write(self._address + b"\x00\x00" + var_bytes(self._state_vector))
        self._frames()

    def _frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            length, head = buffer[at + 1] & 0x7F, 2
            if length == 126:
                head = 4
            elif length == 127:
                head = 10
            if len(buffer) - at < head:
                break
            if head > 2:
                length = int.from_bytes(buffer[at + 2 : at + head], "big")
            if len(buffer) - at < head + length:
                break
            self._message(bytes(buffer[at + head : at + head + length]))
            at += head + length
        del buffer[:at]

    def _message(self, message: bytes) -> None:
        if not message.startswith(self._address):
            return
        body = message[len(self._address) :]
        if body[:1] == b"\x08":
            self.acknowledged += 1
        elif body[:2] in {b"\x00\x01", b"\x00\x02"}:
            marks = body.count(MARK)
            self.marks += marks
            if body[1] == 1:
                self.synced.set()
            elif self.times is not None:
                # Once for each: a frame may hold several merged updates.
                self.times.extend([asyncio.get_running_loop().time()] * marks)
        elif body[:2] == b"\x00\x00":
            self.write(self._address + b"\x00\x01\x02\x00\x00")
        self.changed.set()

    def frame(self, update: bytes) -> bytes:
        """Return the WebSocket frame that sends an update."""
        message = self._address + b"\x00\x02" + var_bytes(update)
        return bytes(Frame(Opcode.BINARY, message).serialize(mask=True))

    def write(self, message: bytes) -> None:
        """Send a message."""
        frame = Frame(Opcode.BINARY, message).serialize(mask=True)
        self.sent_bytes += len(frame)
        self._transport.write(frame)

    def write_frames(self, frames: bytes) -> None:
        """Send frames that were encoded before."""
        self._transport.write(frames)

    def close(self) -> None:
        """End the connection, without a word."""
        self._transport.abort()


async def until_marks(clients: list[Client], count: int, limit_s: float = 60) -> bool:
    """Wait until all clients have so many marks; returns whether they do."""
    end_s = asyncio.get_running_loop().time() + limit_s
    while any(client.marks < count for client in clients):
        if asyncio.get_running_loop().time() > end_s:
            return False
        await asyncio.sleep(0.005)
    return True


__all__ = ["MARK", "Client", "make_conversation", "make_updates", "until_marks", "var_bytes"]
