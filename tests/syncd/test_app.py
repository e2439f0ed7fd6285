"""The application from outside: raw frames, HTTP, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from crdt_conv import Store, StoreFull
from syncd.app import create_app
from syncd.auth import TokenGate
from syncd.hub import Hub
from syncd.protocol.frames import Awareness, Denied, SyncStep1, SyncStep2, Update, decode_frames, encode_frame
from tests.replicas import replica, texts
from tests.syncd.servers import TOKEN, serving, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return the daemon's store."""
    with Store(tmp_path / "daemon.db") as opened:
        yield opened


def socket_url(url: str, room: str = "c", token: str = TOKEN) -> str:
    """Return where a room's socket is."""
    return f"{url.replace('http', 'ws')}/sync/{room}?token={token.replace(' ', '%20')}"


async def frame(socket: ClientConnection) -> object:
    """Return the next message."""
    data = await socket.recv()
    assert isinstance(data, bytes)
    [message] = decode_frames(data)
    return message


def an_update(text: str = "hello") -> bytes:
    """Return an update of some other replica."""
    conversation = replica()
    conversation.append("user", text)
    return conversation.encode()


async def test_the_greeting_asks_for_what_the_client_has(store: Store) -> None:
    """The server opens with SyncStep1, else offline edits would never be uploaded."""
    async with serving(store) as url, connect(socket_url(url)) as socket:
        assert await frame(socket) == SyncStep1(b"\x00")
        await socket.send(encode_frame(SyncStep1(b"\x00")))
        assert await frame(socket) == SyncStep2(b"\x00\x00")


async def test_the_echo_leaves_after_the_commit(store: Store, tmp_path: Path) -> None:
    """When the sender has its own update back, it is in the file."""
    update = an_update()
    async with serving(store) as url, connect(socket_url(url)) as socket:
        await frame(socket)
        await socket.send(encode_frame(Update(update)))
        assert await frame(socket) == Update(update)
        with Store(tmp_path / "daemon.db", read_only=True) as reader:
            assert texts(reader.open("c").log().messages) == ["hello"]


async def test_others_get_the_same_bytes(store: Store) -> None:
    """A relay is the update as it came."""
    update = an_update()
    async with serving(store) as url, connect(socket_url(url)) as one, connect(socket_url(url)) as other:
        await frame(one)
        await frame(other)
        await one.send(encode_frame(Update(update)))
        assert await frame(other) == Update(update)


async def test_an_update_twice_is_stored_once(store: Store) -> None:
    """What is known is echoed, since it is on disk, and not stored again."""
    update = an_update()
    async with serving(store) as url, connect(socket_url(url)) as socket:
        await frame(socket)
        for _ in range(3):
            await socket.send(encode_frame(Update(update)))
            assert await frame(socket) == Update(update)
    assert len(store.read(store.open("c").id)) == 1


@pytest.mark.parametrize("data", [b"\x00\x02\x03abc", b"\x00\x02\xff", b"", b"\x00\x09", b"\x01\x01\x05"])
async def test_rubbish_closes_its_sender_and_nobody_else(store: Store, data: bytes) -> None:
    """A malformed frame or update gets a reason and a final close; the room goes on."""
    async with serving(store) as url, connect(socket_url(url)) as bad, connect(socket_url(url)) as good:
        await frame(bad)
        await frame(good)
        await bad.send(data)
        assert isinstance(await frame(bad), Denied)
        with pytest.raises(ConnectionClosed) as closed:
            await bad.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400
        await good.send(encode_frame(Update(an_update())))
        assert isinstance(await frame(good), Update)
    assert texts(store.open("c").log().messages) == ["hello"]


async def test_text_is_no_frame(store: Store) -> None:
    """A text message is refused like any other rubbish."""
    async with serving(store) as url, connect(socket_url(url)) as socket:
        await frame(socket)
        await socket.send("hello")
        assert isinstance(await frame(socket), Denied)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400


@pytest.mark.parametrize("token", ["", "wrong", "let me in!"])
async def test_without_the_token_nobody_gets_in(store: Store, token: str) -> None:
    """The socket is accepted, so that a browser sees why, and closed for good before anything is read."""
    async with serving(store) as url, connect(socket_url(url, token=token)) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    assert store.list() == []


async def test_looking_into_a_room_makes_no_conversation(store: Store) -> None:
    """A room that nobody writes in leaves nothing behind."""
    async with serving(store) as url, connect(socket_url(url, "no/such")) as socket:
        await frame(socket)
    assert store.list() == []


async def test_an_id_that_can_t_be_is_refused(store: Store) -> None:
    """A conversation's id has limits."""
    async with serving(store) as url, connect(socket_url(url, "x" * 300)) as socket:
        with pytest.raises(ConnectionClosed, match="200 printable"):
            await socket.recv()


async def test_presence_is_echoed_and_told_when_it_ends(store: Store) -> None:
    """Awareness goes to everybody, its sender too; who leaves is told as gone."""
    here, gone = b"\x01\x07\x01\x02{}", b"\x01\x07\x02\x04null"
    async with serving(store) as url, connect(socket_url(url)) as other:
        await frame(other)
        async with connect(socket_url(url)) as socket:
            await frame(socket)
            await socket.send(encode_frame(Awareness(here)))
            assert await frame(socket) == Awareness(here)
            assert await frame(other) == Awareness(here)
        assert await frame(other) == Awareness(gone)


async def test_an_empty_room_lets_its_document_go(store: Store) -> None:
    """When everybody has left, the conversation is only in the file, and nothing is kept of it."""
    async with serving(store) as url:
        async with connect(socket_url(url)) as socket:
            await frame(socket)
            await socket.send(encode_frame(Update(an_update())))
            await until(lambda: "c" in store._live)
        await until(lambda: "c" not in store._live)
        await until(lambda: not store._unapplied and not store._sizes)


# Method, path, token, body; status, and what the answer says.
CALLS = [
    ("GET", "/healthz", "", None, 200, "ok"),
    ("GET", "/readyz", "", None, 200, "ready"),
    ("GET", "/api/conversations", "", None, 401, "a valid token is needed"),
    ("GET", "/api/conversations", "wrong", None, 401, "a valid token is needed"),
    ("GET", "/api/conversations", TOKEN, None, 200, '{"conversations":[],"next":null}'),
    ("POST", "/api/conversations", TOKEN, b'{"title": "Trip", "id": "c"}', 201, '{"id":"c"}'),
    ("POST", "/api/conversations", TOKEN, b"{", 400, "no JSON"),
    ("POST", "/api/conversations", TOKEN, b"[]", 422, "must be an object"),
    ("POST", "/api/conversations", TOKEN, b'{"title": 3}', 422, "must be a string"),
    ("POST", "/api/conversations", TOKEN, b"x" * 1_100_000, 413, "at most"),
    ("GET", "/api/conversations/nobody", TOKEN, None, 404, "no conversation nobody"),
    ("GET", "/nowhere", TOKEN, None, 404, "Not Found"),
]


@pytest.mark.parametrize(("method", "path", "token", "body", "status", "says"), CALLS)
async def test_http(
    store: Store, method: str, path: str, token: str, body: bytes | None, status: int, says: str
) -> None:
    """Each call answers as its row says."""
    async with serving(store) as url, httpx.AsyncClient(base_url=url) as http:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await http.request(method, path, content=body, headers=headers)
    assert answer.status_code == status
    assert says in answer.text


async def test_http_shows_a_conversation_as_the_command_line_does(store: Store) -> None:
    """The log of a branch has the keys of contract 4, and problems are problem details."""
    conversation = store.create("Trip")
    message = conversation.append("user", "Where?")
    async with (
        serving(store) as url,
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as http,
    ):
        shown = (await http.get(f"/api/conversations/{conversation.id}")).json()
        problem = await http.get(f"/api/conversations/{conversation.id}", params={"branch": "x"})
    assert (shown["title"], shown["heads"], shown["diverged"]) == ("Trip", [message.id], False)
    assert shown["messages"][0]["digest"] == conversation.digest(message.id).hex() == shown["digest"]
    assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")


class Failing:
    """An engine whose disk is full for as long as it is said to be."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine
        self.is_full = False

    def __getattr__(self, name: str) -> Any:
        if self.is_full and name in {"append", "set_setting"}:
            raise StoreFull("the disk is full")
        return getattr(self._engine, name)


async def test_it_is_not_ready_while_the_disk_fails(store: Store) -> None:
    """From the commit that failed until a write works again; who asks finds out, without any client."""
    engine = store.engine = Failing(store)
    async with serving(store) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/readyz")).text == "ready\n"
        engine.is_full = True
        async with connect(socket_url(url)) as socket:
            await frame(socket)
            await socket.send(encode_frame(Update(an_update())))
            assert isinstance(await frame(socket), Denied)
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "the store can't be written\n")
        assert (await http.get("/healthz")).status_code == 200
        engine.is_full = False
        assert (await http.get("/readyz")).status_code == 200


async def test_it_is_not_ready_while_it_ends(store: Store) -> None:
    """Told to end, it says so to whoever asks on a connection that is open already."""
    hub = Hub(store, TokenGate(TOKEN))
    transport = httpx.ASGITransport(create_app(hub))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        assert (await http.get("/readyz")).text == "starting\n"
        async with hub.running():
            assert (await http.get("/readyz")).status_code == 200
            hub.is_ending = True
            answer = await http.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "ending\n")
