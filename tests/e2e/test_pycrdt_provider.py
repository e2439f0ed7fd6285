"""pycrdt's own provider, unmodified, on the socket of one document, as pycrdt documents it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from pycrdt import Doc, Map, Provider, Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from crdt_conv import Store
from tests.e2e.programs import TOKEN, Daemon, conv_json, daemon, token_for
from tests.syncd.servers import until

if TYPE_CHECKING:
    from pycrdt import Channel

pytestmark = pytest.mark.anyio


class Socket:
    """What pycrdt calls a channel: the few lines that it leaves to its user."""

    def __init__(self, connection: ClientConnection, path: str) -> None:
        self._connection = connection
        self.path = path

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def send(self, message: bytes) -> None:
        await self._connection.send(message)

    async def recv(self) -> bytes:
        return await self._connection.recv(decode=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Daemon]:
    """Run a daemon that has keys for tokens."""
    token_for(tmp_path / "chats.db", "nobody")
    with daemon(tmp_path / "chats.db", "--no-executor") as running:
        yield running


@asynccontextmanager
async def connected(
    server: Daemon, document: Doc[Any], room: str = "c", token: str = TOKEN
) -> AsyncIterator[ClientConnection]:
    """Sync a document while the block runs; it begins when the provider says that it is synced."""
    async with (
        connect(f"{server.ws}/sync/{room}?token={token}") as connection,
        Provider(document, Socket(connection, room)) as provider,
    ):
        with anyio.fail_after(20):
            await provider.synced.wait()
        yield connection


def text_of(document: Doc[Any]) -> Text:
    """Return the text that all of them write."""
    text: Text = document.get("typed", type=Text)
    return text


async def says(document: Doc[Any], holds: Callable[[str], bool]) -> None:
    """Wait until the text is as it should be."""
    with anyio.fail_after(20):
        await until(lambda: holds(str(text_of(document))))


async def test_two_write_at_once_and_read_the_same(server: Daemon) -> None:
    """Concurrent edits of one text converge, nothing is there twice."""
    one, other = Doc[Any](), Doc[Any]()
    async with connected(server, one), connected(server, other):
        for _ in range(20):
            text_of(one).insert(0, "a")
            text_of(other).insert(0, "b")
            await anyio.lowlevel.checkpoint()
        for document in (one, other):
            await says(document, lambda text: sorted(text) == ["a"] * 20 + ["b"] * 20)
        assert str(text_of(one)) == str(text_of(other))


async def test_what_is_written_offline_goes_up_to_a_restarted_daemon(tmp_path: Path) -> None:
    """Both write with no connection; the daemon is a new process when they come back."""
    one, other, db = Doc[Any](), Doc[Any](), tmp_path / "chats.db"
    with daemon(db, "--no-executor") as first:
        async with connected(first, one), connected(first, other):
            text_of(one).insert(0, "-")
            await says(other, lambda text: text == "-")
    text_of(one).insert(0, "a")
    text_of(other).insert(1, "b")
    with daemon(db, "--no-executor", port=first.port) as second:
        async with connected(second, one), connected(second, other):
            for document in (one, other):
                await says(document, lambda text: text == "a-b")


async def test_a_daemon_that_ends_ends_the_provider_quietly(tmp_path: Path) -> None:
    """Its channel is at its end; the document stays and can be connected again."""
    document, db = Doc[Any](), tmp_path / "chats.db"
    with daemon(db, "--no-executor") as first:
        async with connected(first, document) as connection:
            first.process.terminate()
            with anyio.fail_after(20):
                await connection.wait_closed()
            assert connection.close_code == 1012
    with daemon(db, "--no-executor") as second:
        async with connected(second, document):
            text_of(document).insert(0, "x")


async def test_a_cold_document_is_whole_once_it_is_synced(tmp_path: Path) -> None:
    """Synced is never said on an empty answer, and two that open a new one at once have its content once."""
    db = tmp_path / "chats.db"
    with Store(db) as store:
        conversation = store.create()
        for number in range(300):
            conversation.append("user", f"message {number}")
    document = Doc[Any]()
    with daemon(db, "--no-executor") as server:
        async with connected(server, document, conversation.id):
            assert len(document.get("messages", type=Map)) == 300
        one, other = Doc[Any](), Doc[Any]()
        text_of(one).insert(0, "a")
        text_of(other).insert(0, "b")
        async with connected(server, one, "new"), connected(server, other, "new"):
            for opened in (one, other):
                await says(opened, lambda text: sorted(text) == ["a", "b"])


async def test_who_may_only_read_reads_on(server: Daemon) -> None:
    """The provider passes over what it is told; nobody sees what it wrote, and it sees what others write."""
    reader, owner = Doc[Any](), Doc[Any]()
    token = token_for(server.db, "ann", c="read")
    async with connected(server, reader, token=token), connected(server, owner):
        text_of(reader).insert(0, "mine")
        text_of(owner).insert(0, "ours")
        await says(reader, lambda text: sorted(text) == sorted("mineours"))
        assert str(text_of(owner)) == "ours"
    assert [shown["id"] for shown in conv_json(server.db, "ls")] == ["c"]
