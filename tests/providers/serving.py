"""
Strict local servers of providers' APIs, over real sockets on loopback.

A ``Provider`` refuses what the real one refuses, with its status and its shape of error, and says what its
script holds in the real sequence of events. Every request is kept. ``check`` and ``events`` are pure, so that
a property test can ask thousands of times without a socket.
"""

from __future__ import annotations

import json
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider says next; ``calls`` are names and arguments as JSON text."""

    text: str = "ok"
    reasoning: str = ""
    calls: Sequence[tuple[str, str]] = ()
    stop: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """An answer of which so many events come: then the stream ends, or the connection breaks."""

    after: int
    answer: Answer = field(default_factory=Answer)
    is_rude: bool = True
    error: Any = None
    """An event that comes in the place of the rest."""


class Gone(Exception):
    """The server's end of a connection that breaks."""


class Provider(ABC):
    """One provider's API. What it says next stands in ``script``; without one it says "ok"."""

    paths: ClassVar[Sequence[str]]
    framing: ClassVar[str] = "sse"

    def __init__(self, *script: Answer | Refusal | Cut) -> None:
        self.script: deque[Answer | Refusal | Cut] = deque(script)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.count = 0

    @abstractmethod
    def check(self, body: dict[str, Any], headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused, or nothing. Pure."""

    @abstractmethod
    def events(self, body: dict[str, Any], answer: Answer) -> Iterator[Any]:
        """Yield the events of an answer: JSON, or text that is sent as it stands."""

    def frame(self, event: Any) -> bytes:
        """Return an event as it goes over the wire."""
        text = event if isinstance(event, str) else json.dumps(event)
        if self.framing == "ndjson":
            return f"{text}\n".encode()
        kind = event.get("type") if isinstance(event, dict) else None
        return (f"event: {kind}\n" if kind else "").encode() + f"data: {text}\n\n".encode()

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(routes=[Route(path, self._answer, methods=["POST"]) for path in self.paths])

    async def _answer(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.requests.append(body)
        self.headers.append({key.lower(): value for key, value in request.headers.items()})
        refusal = self.check(body, self.headers[-1])
        said = self.script.popleft() if refusal is None and self.script else Answer()
        refusal = refusal or (said if isinstance(said, Refusal) else None)
        if refusal is not None:
            return JSONResponse(refusal.body, refusal.status, dict(refusal.headers))
        assert not isinstance(said, Refusal)
        self.count += 1
        kind = "application/x-ndjson" if self.framing == "ndjson" else "text/event-stream"
        return StreamingResponse(self._stream(body, said), media_type=kind)

    async def _stream(self, body: dict[str, Any], said: Answer | Cut) -> AsyncIterator[bytes]:
        answer = said.answer if isinstance(said, Cut) else said
        for at, event in enumerate(self.events(body, answer)):
            if isinstance(said, Cut) and at == said.after:
                if said.error is not None:
                    yield self.frame(said.error)
                if said.is_rude:
                    raise Gone
                return
            yield self.frame(event)


def pieces(text: str, size: int = 3) -> list[str]:
    """Return a text in the fragments that it is streamed in."""
    return [text[at : at + size] for at in range(0, len(text), size)]


@asynccontextmanager
async def serving(provider: Provider) -> AsyncIterator[str]:
    """Serve a provider; yields its URL."""
    config = uvicorn.Config(
        provider.app(), lifespan="off", log_config=None, log_level="critical", access_log=False
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listener])
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = server.force_exit = True
