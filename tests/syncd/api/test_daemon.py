"""The API beside sockets, in the whole application."""

from __future__ import annotations

import time

import anyio
import httpx
import pytest
from httpx_sse import aconnect_sse
from websockets.asyncio.client import ClientConnection, connect

from crdt_conv import Store
from syncd.protocol.frames import SyncStep1, Update, decode_frames, encode_frame
from tests.replicas import replica
from tests.syncd.servers import TOKEN, serving

pytestmark = pytest.mark.anyio

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def socket_url(url: str) -> str:
    """Return where a conversation's socket is."""
    return f"{url.replace('http', 'ws')}/sync/c?token={TOKEN.replace(' ', '%20')}"


async def received(socket: ClientConnection) -> bytes:
    """Return the next update that comes, with something in it."""
    with anyio.fail_after(10):
        while True:
            data = await socket.recv()
            assert isinstance(data, bytes)
            for frame in decode_frames(data):
                if isinstance(frame, Update):
                    return frame.update


async def test_what_a_socket_wrote_is_read(store: Store) -> None:
    """As soon as a client has its echo, HTTP shows it, and an event tells of it."""
    store.create(conversation_id="c")
    other = replica("c")
    async with (
        serving(store) as url,
        httpx.AsyncClient(base_url=url, headers=HEADERS) as http,
        aconnect_sse(http, "GET", "/api/conversations/c/events") as source,
        connect(socket_url(url)) as socket,
    ):
        events = source.aiter_sse()
        assert (await anext(events)).event == "ready"
        for number in range(20):
            other.append("user", str(number))
            await socket.send(encode_frame(Update(other.encode())))
            await received(socket)
            shown = (await http.get("/api/conversations/c")).json()["messages"]
            assert [message["text"] for message in shown] == [str(n) for n in range(number + 1)]
        with anyio.fail_after(5):
            assert (await anext(events)).json()["text"] == "0"


async def test_what_a_socket_s_message_holds_is_served(store: Store) -> None:
    """As soon as a client has a message, it may have its attachments, named by the conversation."""
    store.create(conversation_id="c")
    other = replica("c")
    async with (
        serving(store) as url,
        httpx.AsyncClient(base_url=url, headers=HEADERS) as http,
        connect(socket_url(url)) as socket,
    ):
        for number in range(20):
            blob = store.put_blob(str(number).encode())
            other.append("user", parts=[other.attach_bytes(str(number).encode(), mime="x/y")])
            await socket.send(encode_frame(Update(other.encode())))
            await received(socket)
            answer = await http.get(f"/api/blobs/{blob}", params={"conversation": "c"})
            assert (answer.status_code, answer.text) == (200, str(number))


async def test_what_http_wrote_reaches_sockets(store: Store) -> None:
    """A message over HTTP is relayed like any other."""
    store.create(conversation_id="c")
    other = replica("c")
    async with (
        serving(store) as url,
        httpx.AsyncClient(base_url=url, headers=HEADERS) as http,
        connect(socket_url(url)) as socket,
    ):
        await socket.send(encode_frame(SyncStep1(b"\x00")))
        await http.post("/api/conversations/c/messages", json={"role": "user", "text": "hello"})
        other.receive(await received(socket))
    assert other.log().messages[0].text == "hello"


async def test_a_stream_does_not_hold_up_the_end(store: Store) -> None:
    """The server ends at once; the client sees the end of the stream, and not a broken one."""
    store.create(conversation_id="c")
    kinds: list[str] = []

    async def listen(url: str, ready: anyio.Event) -> None:
        async with (
            httpx.AsyncClient(base_url=url, headers=HEADERS) as http,
            aconnect_sse(http, "GET", "/api/conversations/c/events") as source,
        ):
            async for event in source.aiter_sse():
                kinds.append(event.event)
                ready.set()

    async with anyio.create_task_group() as tasks, serving(store) as url:
        ready = anyio.Event()
        tasks.start_soon(listen, url, ready)
        await ready.wait()
        ended = time.monotonic()
    assert (kinds, time.monotonic() - ended < 3) == (["ready"], True)
