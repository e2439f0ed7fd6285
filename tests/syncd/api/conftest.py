"""The API over a real store, without the rest of the daemon."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from crdt_conv import Store
from syncd import api
from syncd.api.openapi import describe
from syncd.api.table import OPERATIONS
from syncd.auth import AccessDenied, Credentials, Grant, Right
from syncd.logs.quotas import Quotas
from syncd.rooms.follower import Follower

TOKEN = "let me in"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
DESCRIPTION = describe(OPERATIONS)


@dataclass
class FakeGate:
    """Lets in by a table: token, then conversation (``None``: the whole server) to rights."""

    rights: dict[str, dict[str | None, set[Right]]] = field(
        default_factory=lambda: {TOKEN: {None: set(Right), "*": set(Right)}}
    )
    asked: list[str | None] = field(default_factory=list)
    expires_s: float | None = None
    watchers: list[Callable[[], None]] = field(default_factory=list)

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        self.asked.append(conversation)
        known = self.rights.get(credentials.token or "")
        if known is None:
            raise AccessDenied("a valid token is needed", 4401)
        rights = known.get(conversation, known.get("*") if conversation is not None else None)
        if rights is None:
            raise AccessDenied("you have no right here", 4403)
        return Grant("ann", frozenset(rights), self.expires_s)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.watchers.append(callback)
        return lambda: self.watchers.remove(callback)

    def revoke(self, token: str = TOKEN) -> None:
        del self.rights[token]
        for callback in tuple(self.watchers):
            callback()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return the daemon's store."""
    with Store(tmp_path / "daemon.db", name="Ann") as opened:
        yield opened


@pytest.fixture
def gate() -> FakeGate:
    """Return who decides."""
    return FakeGate()


@pytest.fixture
def app(store: Store, gate: FakeGate) -> Starlette:
    """Return an application that has nothing but the API."""
    app = Starlette(routes=api.routes(), exception_handlers={HTTPException: api.http_exception})
    app.state.hub = SimpleNamespace(
        store=store, follower=Follower(store), is_settled=lambda _conversation: True, quotas=Quotas()
    )
    app.state.gate = gate
    return app


@pytest.fixture
async def http(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client that checks every answer against the description."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://test",
        headers=AUTHORIZED,
        event_hooks={"response": [check_answer]},
    ) as client:
        yield client
    if hasattr(app.state, "feed"):
        api.end_streams(app)


# Answers against the description


def described(method: str, path: str) -> dict[str, Any] | None:
    """Return the described operation that a request meets."""
    asked = path.split("/")
    for template, methods in DESCRIPTION["paths"].items():
        parts = template.split("/")
        if len(parts) == len(asked) and all(
            p == a or p.startswith("{") for p, a in zip(parts, asked, strict=True)
        ):
            return methods.get("get" if method == "HEAD" else method.lower())  # type: ignore[no-any-return]
    return None


def check(schema: dict[str, Any], value: Any) -> None:
    """Check a value against a schema of the description."""
    Draft202012Validator({**schema, "components": DESCRIPTION["components"]}).validate(value)


async def check_answer(response: httpx.Response) -> None:
    """Check that an answer has a status, a media type and a shape that are described."""
    path = response.request.url.raw_path.decode().partition("?")[0]
    operation = described(response.request.method, path)
    media = response.headers.get("content-type", "").partition(";")[0]
    if operation is None or response.status_code == 405:
        return
    assert str(response.status_code) in operation["responses"], response.status_code
    answer = operation["responses"][str(response.status_code)]
    if response.request.method == "HEAD" or "content" not in answer:
        return
    assert media in answer["content"], media
    await response.aread()
    if media.endswith("json"):
        check(answer["content"][media]["schema"], response.json())


@contextlib.asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serve an application over a real socket; yields the URL."""
    config = uvicorn.Config(
        app, lifespan="off", access_log=False, log_level="error", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            while not server.started:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            api.end_streams(app)
            server.should_exit = True
