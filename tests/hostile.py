"""Connections that mean no good: raw ones, that begin something and never end it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice

import anyio
import pytest

from syncd.protocol import CloseCode

UPGRADE = (
    b"GET /collab HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HALF_FRAME = b"\x82\xfe\x10\x00\x01\x02\x03\x04"
"""The head of a frame of 4,096 bytes."""
AT_ONCE = 100


@dataclass(frozen=True)
class Kind:
    """What a connection says first, what once it is a WebSocket, and whether it then drips on."""

    opening: bytes
    greeting: bytes = b""
    drips: bool = False


NO_REQUEST = Kind(b"")
HALF_A_REQUEST = Kind(UPGRADE[:-4], drips=True)
HALF_A_SECOND_REQUEST = Kind(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", drips=True)
HALF_A_BODY = Kind(
    b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n", drips=True
)
NOBODY = Kind(UPGRADE)
HALF_A_FRAME = Kind(UPGRADE, HALF_FRAME, drips=True)


class Hostile(asyncio.Protocol):
    """One connection; it never closes first, and answers nothing."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.told = bytearray()
        self.is_gone = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.kind.opening)

    def data_received(self, data: bytes) -> None:
        was_upgraded = self.is_upgraded
        self.told += data
        if self.is_upgraded and not was_upgraded:
            self.transport.write(self.kind.greeting)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_gone = True

    @property
    def is_upgraded(self) -> bool:
        return self.told.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in self.told

    @property
    def close_code(self) -> int:
        """The code of the close frame that it was sent, or 0."""
        frames = self.told.partition(b"\r\n\r\n")[2]
        return int.from_bytes(frames[2:4], "big") if frames[:1] == b"\x88" else 0


def was_let_go(stranger: Hostile) -> bool:
    """Whether the server ended a connection, with a reason where it could say one."""
    return stranger.close_code == CloseCode.TIMEOUT if stranger.is_upgraded else stranger.is_gone


async def connect(port: int, kinds: Iterable[Kind]) -> list[Hostile]:
    """Open connections."""
    loop = asyncio.get_running_loop()
    left, made = iter(kinds), list[Hostile]()
    while some := list(islice(left, AT_ONCE)):
        opened = [loop.create_connection(partial(Hostile, kind), "127.0.0.1", port) for kind in some]
        made += [hostile for _, hostile in await asyncio.gather(*opened)]
    return made


async def drip(connections: Iterable[Hostile], interval_s: float = 1.0) -> None:
    """Send a byte now and then, for ever."""
    while True:
        for hostile in connections:
            if hostile.kind.drips and not hostile.is_gone:
                hostile.transport.write(b"x")
        await anyio.sleep(interval_s)


def hang_up(connections: Iterable[Hostile]) -> None:
    """End what is still there."""
    for hostile in connections:
        hostile.transport.abort()


@contextmanager
def open_files(count: int) -> Iterator[None]:
    """Allow this process, and those it starts, so many open files; skip the test where that can't be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"{count} open files are needed, and {hard} allowed: ulimit -Hn")
    if soft == resource.RLIM_INFINITY or soft >= count:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
