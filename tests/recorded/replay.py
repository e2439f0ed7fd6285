"""
Replaying a recording: its requests become logs, its answers messages; our requests are compared with its own.

One conversation holds a whole file. Each request is walked from its front: an entry that was
said here before, below the same entry, is the same message, be it an answer that was ingested
(with its hidden fields) or one that an earlier request brought; any other is written anew. So
requests that go on, fork or begin again all become logs of one graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from adapters import AdapterError
from adapters.exchange import Adapter, Hidden, Report, Request
from adapters.http import error_of
from adapters.writing import write_answer
from crdt_conv import Author, Conversation, HiddenField, Message, Part, Target, new_part
from tests.recorded.files import Exchange

MISSING: Final = "<missing>"


@dataclass(slots=True)
class Entry:
    """One message of a recorded request; ``sealed`` are hidden fields by the place of their part."""

    role: str
    parts: list[Part] = field(default_factory=list)
    sealed: list[tuple[int | None, HiddenField]] = field(default_factory=list)


class Reader(Protocol):
    """What is special about the requests of one API."""

    def adapter(self, exchange: Exchange) -> Adapter:
        """Return the adapter that would have sent it."""

    def target(self, exchange: Exchange) -> Target:
        """Return what a run would ask for."""

    def history(self, exchange: Exchange, conversation: Conversation) -> list[Entry]:
        """Return the request's messages."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where our body is not the recorded one; ``path`` is made of keys and numbers."""

    path: tuple[str | int, ...]
    recorded: Any
    ours: Any


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of difference that is meant, and why."""

    name: str
    reason: str
    applies: Callable[[Difference, Exchange], bool]


def differences(recorded: Any, ours: Any, path: tuple[str | int, ...] = ()) -> Iterator[Difference]:
    """Yield every place where two JSON values differ, as deep as they can be compared."""
    if isinstance(recorded, Mapping) and isinstance(ours, Mapping):
        for key in sorted({*recorded, *ours}):
            yield from differences(recorded.get(key, MISSING), ours.get(key, MISSING), (*path, key))
    elif isinstance(recorded, list) and isinstance(ours, list) and len(recorded) == len(ours):
        for at, (one, other) in enumerate(zip(recorded, ours, strict=True)):
            yield from differences(one, other, (*path, at))
    elif recorded != ours or isinstance(recorded, bool) != isinstance(ours, bool):
        yield Difference(path, recorded, ours)


class Replay:
    """A conversation that grows by the exchanges of one file."""

    def __init__(self, conversation: Conversation, reader: Reader) -> None:
        self.conversation = conversation
        self._reader = reader
        self._below: dict[str, list[str]] = {}
        self._count = 0

    def materialize(self, exchange: Exchange) -> tuple[str, Request, Report]:
        """Return the message that a recorded request ends with here, and our request for that log."""
        head = self._walk(self._reader.history(exchange, self.conversation))
        return head, *self.ask(exchange, head)

    def ask(self, exchange: Exchange, head: str) -> tuple[Request, Report]:
        """Return our request for the log under a message."""
        adapter = self._reader.adapter(exchange)
        target = self._reader.target(exchange)
        hidden = Hidden.of(self.conversation, now_ms=0)
        return adapter.materialize(self.conversation.lin(head), target, (), hidden)

    def answer(self, exchange: Exchange, head: str, request: Request) -> Message | None:
        """Ingest the recorded answer below a message; nothing where it was an error."""
        if exchange.status != 200:
            assert isinstance(error_of(exchange.status, exchange.content), AdapterError)
            return None
        ingest = self._reader.adapter(exchange).ingest(request)
        operations = [operation for event in exchange.events for operation in ingest.feed(event)]
        operations += ingest.end()
        answer = write_answer(
            self.conversation,
            operations,
            lambda: self.conversation.stream(branch=self._branch(), parents=[head]),
        )
        self._below.setdefault(head, []).append(answer.id)
        return answer

    def go_on(self, answer: Message) -> str:
        """Write what comes after an answer: results of its calls, or another question."""
        calls = [part.content["call_id"] for part in answer.parts if part.type == "tool_call"]
        results = [new_part("tool_result", call_id=call, content="done", is_error=False) for call in calls]
        entry = Entry("tool", results) if results else Entry("user", [new_part("text", text="Go on.")])
        return self._append(entry, answer.id)

    def _branch(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def _walk(self, history: Sequence[Entry]) -> str:
        head = ""
        renamed: dict[str, str] = {}
        for entry in history:
            self._rename(entry, renamed)
            wanted = _said(entry.role, entry.parts)
            below = [self.conversation.message(message_id) for message_id in self._below.get(head, [])]
            known = [message for message in below if _said(message.role, message.parts) == wanted]
            if known:
                _learn(renamed, entry.parts, known[-1].parts)
            head = known[-1].id if known else self._append(entry, head)
        return head

    @staticmethod
    def _rename(entry: Entry, renamed: Mapping[str, str]) -> None:
        for at, part in enumerate(entry.parts):
            call_id = str(part.content.get("call_id"))
            if part.type == "tool_result" and call_id in renamed:
                entry.parts[at] = replace(part, content={**part.content, "call_id": renamed[call_id]})

    def _append(self, entry: Entry, head: str) -> str:
        sealed = [
            replace(hidden, at=entry.parts[at].id if at is not None else None) for at, hidden in entry.sealed
        ]
        message = self.conversation.append(
            entry.role,
            parts=entry.parts,
            hidden=sealed,
            branch=self._branch(),
            parents=[head] if head else [],
            author=Author("import"),
        )
        self._below.setdefault(head, []).append(message.id)
        return message.id


def _said(role: str, parts: Sequence[Part]) -> Any:
    """Return what a message says, as far as every client sends it back: no reasoning, no ids."""
    text = "".join(part.text for part in parts if part.type == "text")
    rest = [_content(part) for part in parts if part.type not in ("text", "reasoning")]
    return role, text.strip(), [entry for entry in rest if role != "assistant" or entry[0] == "tool_call"]


def _content(part: Part) -> tuple[str, Any]:
    if part.type == "tool_call":
        return part.type, (part.content.get("name"), json.loads(part.content.get("arguments") or "{}"))
    return part.type, {key: value for key, value in part.content.items() if value not in (None, "")}


def _learn(renamed: dict[str, str], theirs: Sequence[Part], ours: Sequence[Part]) -> None:
    """Remember which of our calls a recorded id means: some servers give none, and each client its own."""
    calls = [
        [part.content["call_id"] for part in parts if part.type == "tool_call"] for parts in (theirs, ours)
    ]
    renamed.update(zip(*calls, strict=True))
