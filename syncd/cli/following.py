"""
What happens in a run, for people who watch it: text as it grows, calls of tools, their results, what waits.

Read from the document alone, so that it is the same whoever fulfils the run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from adapters import RunFailed
from adapters.answers import watching
from crdt_conv import Conversation, Message, Run
from crdt_conv.runs.calls import Call


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of an answer; ``is_new`` where an answer begins that is not the run's first."""

    text: str
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a tool; ``arguments`` are JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The result of a call."""

    name: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that waits for a person to approve it."""

    run: str
    call: str
    name: str
    arguments: str

    def as_json(self) -> dict[str, str]:
        """Return it as the programs print it."""
        return {"run": self.run, "call": self.call, "name": self.name, "arguments": self.arguments}


@dataclass(frozen=True, slots=True)
class Parked:
    """Nobody is at work on the run any more: it waits for a person alone."""


Event: TypeAlias = Said | Called | Returned | Waiting | Parked


def waiting(conversation: Conversation, run: Run) -> list[Waiting]:
    """Return the calls of a run that wait for a person."""
    return [_waiting(conversation, run, call) for call in run.pending]


def _waiting(conversation: Conversation, run: Run, call: Call) -> Waiting:
    # The message may be behind a gap: then it is known only that something waits.
    parts = conversation.message(call.message).parts if call.message in conversation.graph else ()
    content = next((part.content for part in parts if part.id == call.part), {})
    return Waiting(run.id, call.key, str(content.get("name") or ""), str(content.get("arguments") or ""))


async def follow(conversation: Conversation, run_id: str) -> AsyncGenerator[Event, None]:
    """
    Yield what happens in a run, until it is over.

    Raises:
        RunFailed: It ended without an answer.
    """
    news = _News(conversation, run_id)
    async with watching(conversation) as changes:
        while True:
            for event in news.read():
                yield event
            run = conversation.runs[run_id]
            if run.is_over:
                if run.state != "complete":
                    told = (run.error or {}).get("message") or f"the run was {run.state}"
                    raise RunFailed(str(told))
                return
            await changes.wait()


class _News:
    """What was not told yet."""

    def __init__(self, conversation: Conversation, run_id: str) -> None:
        self._conversation = conversation
        self._run_id = run_id
        self._shown: dict[str, int] = {}
        self._told: set[str] = set()
        self._names: dict[str, str] = {}
        self._parked = 0

    def read(self) -> Iterator[Event]:
        run = self._conversation.runs[self._run_id]
        for output in run.outputs:
            if output in self._conversation.graph:
                message = self._conversation.message(output)
                yield from self._results(message) if message.role == "tool" else self._answer(message)
        for each in waiting(self._conversation, run):
            if self._is_news(f"waiting {each.call}"):
                yield each
        if run.is_waiting and run.parked == run.epoch > self._parked:
            self._parked = run.epoch
            yield Parked()

    def _answer(self, message: Message) -> Iterator[Event]:
        shown = self._shown.get(message.id, 0)
        if len(message.text) > shown:
            yield Said(message.text[shown:], is_new=bool(self._shown) and not shown)
            self._shown[message.id] = len(message.text)
        if message.status == "streaming":
            return
        for part in message.parts:
            if part.type == "tool_call":
                name = self._names[part.id] = str(part.content.get("name") or "")
                if self._is_news(f"{message.id} {part.id}"):
                    yield Called(name, str(part.content.get("arguments") or ""))

    def _results(self, message: Message) -> Iterator[Event]:
        for part in message.parts:
            if part.type == "tool_result" and self._is_news(f"{message.id} {part.id}"):
                # A result has the id of its call.
                name = self._names.get(part.id, "")
                is_error = part.content.get("is_error") is True
                yield Returned(name, str(part.content.get("content") or ""), is_error)

    def _is_news(self, what: str) -> bool:
        is_news = what not in self._told
        self._told.add(what)
        return is_news
