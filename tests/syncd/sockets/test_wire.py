"""Connections on the real server: what is kept of one, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import anyio
import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Frame, Opcode

from crdt_conv import Store
from syncd.auth import Credentials, Gate, Grant
from syncd.protocol.frames import SyncStep1, SyncStep2, decode_frame, encode_frame
from syncd.protocol.hocuspocus.codec import Token, encode
from syncd.sockets.wire import Outgoing, WireProtocol
from tests.syncd.fakes import FakeGate
from tests.syncd.servers import TOKEN, serving, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(
    store: Store, token: str = TOKEN, gate: Gate | None = None
) -> AsyncIterator[ClientConnection]:
    """Connect to a document of a daemon."""
    async with serving(store, gate=gate) as url:
        where = f"{url.replace('http', 'ws')}/sync/c?token={quote(token)}"
        async with websockets.connect(where) as client:
            yield client


def served() -> int:
    """Return how many tasks serve a request."""
    return sum("run_asgi" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_no_task_serves_a_client_that_is_in() -> None:
    """What it took to let it in leaves memory, and it is answered all the same."""
    async with connected(Store(":memory:")) as client:
        assert decode_frame(await client.recv(decode=False)) == SyncStep1(b"\x00")
        await until(lambda: served() == 0)
        await client.send(encode_frame(SyncStep1(b"\x00")))
        assert decode_frame(await client.recv(decode=False)) == SyncStep2(b"\x00\x00")


class SlowGate(FakeGate):
    """A gate that opens when a message has come."""

    def __init__(self) -> None:
        super().__init__()
        self.came = anyio.Event()

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        await self.came.wait()
        return await super().admit(credentials, conversation)


async def test_what_came_before_the_client_was_in_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients don't wait: their first frames come while it is looked up who they are."""
    gate, original = SlowGate(), WireProtocol.handle_bytes

    def handle_bytes(self: WireProtocol, event: Frame) -> None:
        original(self, event)
        gate.came.set()

    monkeypatch.setattr(WireProtocol, "handle_bytes", handle_bytes)
    async with connected(Store(":memory:"), "all", gate) as client:
        for _ in range(3):
            await client.send(encode_frame(SyncStep1(b"\x00")))
        with anyio.fail_after(10):
            frames = [decode_frame(await client.recv(decode=False)) for _ in range(4)]
    assert frames.count(SyncStep2(b"\x00\x00")) == 3


class FailingGate(FakeGate):
    """A gate with a mistake in it."""

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        if conversation == "c":
            raise ZeroDivisionError
        return await super().admit(credentials, conversation)


async def test_a_gate_s_mistake_ends_one_socket(caplog: pytest.LogCaptureFixture) -> None:
    """The one who asked is told to come back, and the daemon goes on."""
    async with serving(Store(":memory:"), gate=FailingGate()) as url:
        where = f"{url.replace('http', 'ws')}/collab"
        async with websockets.connect(where) as unlucky, websockets.connect(where) as other:
            await unlucky.send(encode("c", Token("all", "4.8.0"), is_server=False))
            with pytest.raises(ConnectionClosedError) as closed:
                await unlucky.recv()
            await other.send(encode("d", Token("all", "4.8.0"), is_server=False))
            assert b"read-write" in await other.recv(decode=False)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    assert "ZeroDivisionError" in {getattr(record, "reason", "") for record in caplog.records}


async def test_a_connection_that_breaks_has_said_no_goodbye(caplog: pytest.LogCaptureFixture) -> None:
    """The log tells one that was cut from one whose client closed it."""
    caplog.set_level(logging.INFO)
    async with connected(Store(":memory:")) as client:
        await client.recv()
        client.transport.abort()
        await until(lambda: "connection_closed" in {getattr(r, "event", "") for r in caplog.records})
    closed = [r for r in caplog.records if getattr(r, "event", "") == "connection_closed"]
    assert [getattr(r, "code", 0) for r in closed] == [1006]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_a_message_is_framed_as_the_library_does_it(length: int) -> None:
    """Short, middling and long: each has a head of its own."""
    data = bytes(length)
    frame = Frame(Opcode.BINARY, data).serialize(mask=False)
    assert Outgoing(data).encoded == frame
    for at in (0, length // 2, length):
        cut = Outgoing(data[:at], data[at:])
        assert (cut.encoded + cut.tail, cut.data, len(cut)) == (frame, data, length)
