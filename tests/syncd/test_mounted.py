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
