"""What the real daemon writes down at its most talkative: all that happened, nothing that is secret."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from syncd.protocol.frames import Denied, Update, decode_frame, encode_frame
from syncd.protocol.hocuspocus.codec import (
    Addressed,
    Authenticated,
    Body,
    PermissionDenied,
    Stateless,
    Sync,
    Token,
    decode,
    encode,
)
from tests.e2e.programs import TOKEN, Daemon, daemon, environment, syncd, token_for
from tests.replicas import replica

CONTENT = "the recipe of the house"
WRONG = "wr0ng-token"


def updates() -> tuple[bytes, bytes]:
    """Return an update with content, and one that is none, with content too."""
    conversation = replica()
    conversation.append("user", CONTENT)
    update = conversation.encode()
    return update, update[:-3] + CONTENT.encode()


def jwt(db: Path) -> str:
    """Return a token for a person, as an operator makes one."""
    command = [sys.executable, "-m", "syncd", "token", "--db", str(db), "--sub", "ann", "--right", "*=write"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=True)
    return done.stdout.strip().splitlines()[-1]


async def read_until(socket: ClientConnection, holds: Callable[[bytes], bool]) -> None:
    """Read frames until one is the one, or the server closes."""
    with suppress(ConnectionClosed):
        while not holds(await socket.recv(decode=False)):
            pass


async def visit_sync(server: Daemon, token: str) -> None:
    """Send an update, one that is none, and a text, by the dialect of one document."""
    good, bad = (encode_frame(Update(update)) for update in updates())
    frames: dict[str, bytes | str] = {"good": good, "bad": bad, "text": CONTENT}
    for room, frame in frames.items():
        async with connect(f"{server.ws}/sync/{room}?token={token}") as socket:
            with suppress(ConnectionClosed):
                await socket.send(frame)
            await read_until(socket, lambda data: data == good or isinstance(decode_frame(data), Denied))


async def visit_collab(server: Daemon, token: str) -> None:
    """The same by the dialect of many documents, with the token in a frame, and once in the URL."""
    good, bad = updates()
    bodies: tuple[Body, ...] = (Token(token, "4.8.0"), Sync(Update(good)), Sync(Update(bad)))
    async with connect(f"{server.ws}/collab?token={token}") as socket:
        for body in bodies:
            await socket.send(encode("many", body, is_server=False))
        await read_until(socket, is_answer)
        await socket.send(CONTENT)
        await read_until(socket, lambda _: False)


def is_answer(data: bytes) -> bool:
    """Whether a frame says that an update was refused, or its sender."""
    frame = decode(data, is_server=True)
    return isinstance(frame, Addressed) and isinstance(frame.body, Stateless | PermissionDenied)


async def visit_http(server: Daemon, token: str) -> None:
    """Write a message, ask for what is not there, and knock where no token belongs."""
    async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as client:
        made = await client.post("/api/conversations", json={"title": CONTENT, "id": "good"})
        assert made.status_code in {201, 401, 403, 409}
        await client.post("/api/conversations/good/messages", json={"role": "user", "text": CONTENT})
        # Metrics first: lines about who was refused are few a minute.
        for path in ("/metrics", "/api/conversations?token=" + token, f"/api/search?q={CONTENT}", "/none"):
            await client.get(path)
        await client.get("/api/conversations", headers={"Host": "elsewhere.example"})


async def knock(server: Daemon) -> None:
    """Send what is no HTTP, with a token in it."""
    stream = await anyio.connect_tcp("127.0.0.1", server.port)
    async with stream:
        await stream.send(f"GET /sync/c?token={WRONG} HTTP/1.1\r\nbad header {CONTENT}\r\n\r\n".encode())
        with suppress(anyio.EndOfStream):
            while True:
                await stream.receive()


async def visit_from_elsewhere(server: Daemon) -> None:
    """Come as a page of another origin, and under a name that is not the daemon's, with the right token."""
    for path in ("/sync/good", "/collab"):
        page = connect(f"{server.ws}{path}?token={TOKEN}", origin=Origin("https://evil.example"))
        named = connect(
            f"ws://evil.example:{server.port}{path}?token={TOKEN}", host="127.0.0.1", port=server.port
        )
        for door in (page, named):
            async with door as socket:
                await read_until(socket, lambda _: False)


async def visit_until_revoked(server: Daemon, first: str, second: str) -> None:
    """Show one token and then another in its place, write what is refused, and be revoked."""
    refused = Sync(Update(updates()[0]))
    may_read = encode("rights", Authenticated(is_read_only=True), is_server=True)
    async with connect(f"{server.ws}/collab") as socket:
        for body in (Token(first, "4.8.0"), Token(second)):
            await socket.send(encode("rights", body, is_server=False))
        await read_until(socket, lambda data: data == may_read)
        await socket.send(encode("rights", refused, is_server=False))
        await read_until(socket, is_answer)
        await anyio.to_thread.run_sync(syncd, server.db, "revoke", "--sub", "bob")
        await read_until(socket, lambda _: False)


async def visit(server: Daemon, *tokens: str) -> None:
    """Do all of it, with every token."""
    for token in tokens:
        await visit_sync(server, token)
        await visit_collab(server, token)
        await visit_http(server, token)
    await visit_from_elsewhere(server)
    await visit_until_revoked(server, tokens[1], tokens[2])
    await knock(server)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, tuple[str, ...]]:
    """Return what a visited daemon wrote to both streams, and the tokens that were shown to it."""
    path = tmp_path_factory.mktemp("logs")
    # Before the daemon starts, which would see a new key only at its next look.
    db = path / "chats.db"
    # The first makes the key.
    writer = jwt(db)
    reader = token_for(db, "bob", everywhere="read")
    ended = token_for(db, "eve", lifetime_s=-60, everywhere="write")
    tokens = (TOKEN, writer, reader, ended, WRONG, f"eyJ{WRONG}")
    with daemon(path / "chats.db", "--no-executor", "--log-level", "debug", log=path / "log") as server:
        anyio.run(visit, server, *tokens)
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert server.process.stdout is not None
        rest = server.process.stdout.read().decode()
    return rest, (path / "log").read_text(), tokens


def lines(written: tuple[str, str, tuple[str, ...]], *events: str) -> list[dict[str, Any]]:
    """Return the lines about some events; every line is an object."""
    told = [json.loads(line) for line in written[1].splitlines()]
    return [line for line in told if not events or line.get("event") in events]


def test_nothing_secret_is_written(written: tuple[str, str, tuple[str, ...]]) -> None:
    """No token and no content, as text or as the bytes of a frame in hexadecimal digits."""
    stdout, stderr, tokens = written
    assert stdout == ""
    for secret in (*tokens, CONTENT, CONTENT.encode().hex(), CONTENT.encode().hex(" "), "eyJ"):
        assert secret not in stderr
        assert secret.replace(" ", "%20") not in stderr


def test_every_line_is_an_object_with_what_all_have(written: tuple[str, str, tuple[str, ...]]) -> None:
    """Time, level, logger and message; it begins and ends with the daemon itself."""
    told = lines(written)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in told)
    ends = [told[0]["event"], told[-2]["event"], told[-1]["event"]]
    assert ends == ["daemon_started", "daemon_stopping", "daemon_stopped"]


def test_a_refused_update_can_be_traced(written: tuple[str, str, tuple[str, ...]]) -> None:
    """It names conversation, connection and person, and the connection's other lines are found by it."""
    refused = lines(written, "update_refused")
    found = {(line["dialect"], line["conversation"], line["sub"]) for line in refused}
    assert {
        ("sync", "bad", "owner"),
        ("sync", "bad", "ann"),
        ("collab", "many", "owner"),
        ("collab", "many", "ann"),
    } <= found
    closed = {line["connection"]: line for line in lines(written, "connection_closed")}
    opened = {line["connection"] for line in lines(written, "connection_opened")}
    for line in refused:
        assert line["connection"] in opened
        assert closed[line["connection"]]["refused"] >= 1


def test_who_was_not_let_in_is_there(written: tuple[str, str, tuple[str, ...]]) -> None:
    """By each way in, with code, reason and address."""
    denied = lines(written, "access_denied")
    assert {line.get("dialect") for line in denied} == {"sync", "collab", "api", "metrics", None}
    assert all(line["client"] == "127.0.0.1" and line["reason"] for line in denied)
    reasons = " ".join(line["reason"] for line in denied)
    for said in ("expired", "pages of this origin may not connect", "not known by this name"):
        assert said in reasons


def test_who_lost_a_right_is_there(written: tuple[str, str, tuple[str, ...]]) -> None:
    """With who it was, and of what connection, which closed for it."""
    [ended] = lines(written, "access_ended")
    assert (ended["sub"], ended["conversation"], ended["code"]) == ("bob", "rights", 4401)
    closed = {line["connection"]: line for line in lines(written, "connection_closed")}
    assert closed[ended["connection"]]["code"] == 4401


def test_every_connection_that_opened_closed(written: tuple[str, str, tuple[str, ...]]) -> None:
    """With the code and how long; one that sent an update has its bytes."""
    opened = lines(written, "connection_opened")
    closed = {line["connection"]: line for line in lines(written, "connection_closed")}
    assert {line["connection"] for line in opened} == closed.keys()
    assert all({"code", "seconds", "updates", "bytes"} <= line.keys() for line in closed.values())
    assert sum(line["updates"] for line in closed.values()) >= 2
    assert {1000, 4400} <= {line["code"] for line in closed.values()}
