"""A small adapter that says what a test tells it to, held to the same port as the real ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Any

import anyio

from adapters import AdapterError, Report, Request, StreamBroken
from adapters.exchange import Finished, Hidden, Note, Operation, Reported, TextDelta, Tool
from adapters.normalize import Turns, normalize
from crdt_conv import Message, Target


def says(text: str) -> dict[str, Any]:
    """Return an event with a piece of text."""
    return {"choices": [{"delta": {"content": text}}]}


STOP = {
    "choices": [{"delta": {}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}


class ScriptedIngest:
    """Reads the events of ``says``, ``STOP`` and operations that stand in a script as they are."""

    def __init__(self) -> None:
        self._finished: list[Finished] = []

    def feed(self, event: Mapping[str, Any]) -> list[Operation]:
        if "reported" in event:
            return [Reported(**event["reported"])]
        usage = event.get("usage")
        if usage is not None:
            counts = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
            self._finished.append(Finished("stop", counts))
        texts = (choice["delta"].get("content") for choice in event["choices"])
        return [TextDelta(text) for text in texts if text]

    def end(self) -> list[Finished]:
        if not self._finished:
            raise StreamBroken("the answer broke off before its end")
        return self._finished


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
        turns = normalize(log)
        self.check(turns)
        body = {"messages": [{"role": turn.role, "content": turn.text} for turn in turns.turns]}
        odd = tuple(Note(key, "this parameter is not sent") for key in sorted(target.params))
        report = Report("scripted/1", turns.sent, (*turns.left_out, *odd), turns.repairs)
        return Request("/chat", body), report

    def check(self, turns: Turns) -> None:
        turns.check_answerable()

    def ingest(self, request: Request) -> ScriptedIngest:
        return ScriptedIngest()

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


class ContinuingAdapter(ScriptedAdapter):
    """Goes on with an answer that stands at the end of the log, and keeps something of conversations."""

    is_continuing = True
    forgotten: frozenset[str] = frozenset()

    def forget(self, messages: Collection[str]) -> None:
        self.forgotten |= set(messages)

    def check(self, turns: Turns) -> None:
        if turns.turns[-1].role != "assistant":
            super().check(turns)
