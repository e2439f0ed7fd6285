"""A small adapter that says what a test tells it to, held to the same port as the real ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import anyio

from adapters import AdapterError, Report, Request
from adapters.exchange import Hidden, Tool
from adapters.llamacpp.ingest import ChatIngest
from adapters.llamacpp.materialize import materialize
from crdt_conv import Message, Target


def says(text: str) -> dict[str, Any]:
    """Return an event with a piece of text."""
    return {"choices": [{"delta": {"content": text}}]}


STOP = {
    "choices": [{"delta": {}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}


class ScriptedAdapter:
    """Answers each call with the next script: events, errors, and ``None`` for waiting until released."""

    name = "scripted"
    model = "script"
    at_once = 4

    def __init__(self, *scripts: Sequence[Mapping[str, Any] | AdapterError | None]) -> None:
        self.scripts = list(scripts)
        self.calls: list[Request] = []
        self.is_paused = anyio.Event()
        self.release = anyio.Event()
        self.ended = 0

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        return materialize(log, target, tools, hidden)

    def ingest(self, request: Request) -> ChatIngest:
        return ChatIngest()

    async def serve(self) -> None:
        await anyio.sleep_forever()

    async def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any], None]:
        self.calls.append(request)
        try:
            for event in self.scripts[len(self.calls) - 1]:
                if isinstance(event, AdapterError):
                    raise event
                if event is None:
                    self.is_paused.set()
                    await self.release.wait()
                else:
                    yield event
        finally:
            self.ended += 1
