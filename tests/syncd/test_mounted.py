"""The example of an application that mounts the daemon with its own users, over a real socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from examples import mounted
from syncd.auth import Right
from syncd.protocol.frames import Denied, SyncStep1, Update, decode_frame, encode_frame
from tests.replicas import replica

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[str]:
    """Serve the example as anybody would, on uvicorn's usual WebSocket protocol."""
    server = uvicorn.Server(
        uvicorn.Config(mounted.create(str(path)), log_level="error", ws="websockets-sansio")
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            while not server.started:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


async def test_an_application_s_users_share_a_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cookie lets in, its rights count, and who is taken out leaves at once."""
    monkeypatch.setitem(mounted.MEMBERS, "trip", {"ann": {Right.WRITE}, "bob": {Right.READ}})
    source = replica()
    source.append("user", "hello")
    update = source.encode()
    async with served(tmp_path / "chats.db") as address:
        url = f"ws://{address}/crdt/sync/trip"
        ann = connect(url, additional_headers={"Cookie": "user=ann"})
        bob = connect(url, additional_headers={"Cookie": "user=bob"})
        async with ann as writer, bob as reader:
            for client in (writer, reader):
                assert isinstance(decode_frame(await client.recv(decode=False)), SyncStep1)
            await writer.send(encode_frame(Update(update)))
            for client in (writer, reader):
                assert isinstance(decode_frame(await client.recv(decode=False)), Update)
            other = replica()
            other.append("user", "may I?")
            await reader.send(encode_frame(Update(other.encode())))
            assert isinstance(decode_frame(await reader.recv(decode=False)), Denied)
            async with httpx.AsyncClient() as http:
                await http.delete(f"http://{address}/rooms/trip/members/bob")
            with pytest.raises(ConnectionClosed) as closed:
                await reader.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code in {4401, 4403}
        async with connect(url) as stranger:
            with pytest.raises(ConnectionClosed):
                await stranger.recv()


async def test_its_users_have_their_rights_over_http_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API behind the mount asks the same function; a page of another origin can't use the cookie."""
    monkeypatch.setitem(mounted.MEMBERS, "trip", {"ann": {Right.WRITE}, "bob": {Right.READ}})
    ann, bob, eve = ({"Cookie": f"user={name}"} for name in ("ann", "bob", "eve"))
    said = {"role": "user", "text": "hello"}
    async with (
        served(tmp_path / "chats.db") as address,
        httpx.AsyncClient(base_url=f"http://{address}/crdt/api") as http,
    ):

        async def post(path: str, json: dict[str, str], headers: dict[str, str]) -> int:
            return (await http.post(path, json=json, headers=headers)).status_code

        assert await post("/conversations", {"id": "trip"}, ann) == 201
        messages = "/conversations/trip/messages"
        assert [await post(messages, said, who) for who in (ann, bob, eve, {})] == [201, 403, 401, 401]
        assert await post(messages, said, ann | {"Origin": "https://evil.example"}) == 403
        shown = await http.get("/conversations/trip", headers=bob)
        assert [message["text"] for message in shown.json()["messages"]] == ["hello"]
        listed = [(await http.get("/conversations", headers=who)).json() for who in (bob, eve)]
        assert [len(each.get("conversations", ())) for each in listed] == [1, 0]


async def test_who_is_taken_out_hears_no_more_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's word ends streams that are open, and nobody else's."""
    monkeypatch.setitem(mounted.MEMBERS, "trip", {"ann": {Right.WRITE}, "bob": {Right.READ}})
    async with (
        served(tmp_path / "chats.db") as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=20) as http,
    ):
        api = "/crdt/api/conversations"
        await http.post(api, json={"id": "trip"}, headers={"Cookie": "user=ann"})
        stream = http.stream("GET", f"{api}/trip/events", headers={"Cookie": "user=bob"})
        async with stream as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            await http.delete("/rooms/trip/members/bob")
            # It ends: reading it to its end is possible.
            assert "event: ready" in [line async for line in lines]
        again = await http.get(f"{api}/trip/events", headers={"Cookie": "user=bob"})
        assert again.status_code in {401, 403}
