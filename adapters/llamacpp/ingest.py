"""
From the events of an answer to operations. Pure but for what it remembers.

``{"prompt": {…}}`` says what was asked and how the model writes; ``{"content", "tokens"}`` is more of
the answer; ``{"end": {…}}`` its end (``generation``). Events and keys it does not know are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adapters.errors import StreamBroken
from adapters.exchange import (
    Begun,
    Finished,
    Grown,
    Note,
    Operation,
    ReasoningDelta,
    Reported,
    Sealed,
    TextDelta,
    Usage,
)
from adapters.llamacpp.reading import Called, Read, Reader
from adapters.llamacpp.tokens import SEAL_EVERY, Chunk, Content, seal

_STOP_REASONS: Final = {"eos": "stop", "word": "stop_sequence", "limit": "length"}


class CompletionIngest:
    """Reads one answer."""

    def __init__(self) -> None:
        self._prompt: Mapping[str, Any] = {}
        self._reader = Reader(has_reasoning=False, has_tools=False)
        self._content = Content()
        self._ids: list[int] = []
        self._sealed = 0
        self._calls = 0
        self._end: Mapping[str, Any] | None = None

    def feed(self, event: Mapping[str, Any]) -> Sequence[Operation]:
        """Take one event."""
        if isinstance(prompt := event.get("prompt"), dict):
            return list(self._begin(prompt))
        if isinstance(end := event.get("end"), dict):
            self._end = end
            return []
        operations: list[Operation] = []
        # Before this event's tokens are counted: its last ones may be taken back by the next.
        if len(self._ids) - self._sealed >= SEAL_EVERY and self._reader.is_settled:
            operations += self._seal()
        self._take(event.get("tokens"), event.get("dropped"))
        content = event.get("content")
        if isinstance(content, str) and content:
            operations += self._read(self._reader.feed(content))
        return operations

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream.

        Raises:
            StreamBroken: It came too early.
        """
        if self._end is None:
            raise StreamBroken("the answer broke off before its end")
        operations = list(self._read(self._reader.end()))
        if len(self._ids) > self._sealed or not self._sealed:
            operations += self._seal()
        return [*operations, self._finished(self._end)]

    def _begin(self, prompt: Mapping[str, Any]) -> Iterator[Operation]:
        self._prompt = prompt
        self._reader = Reader(
            has_reasoning=prompt.get("has_reasoning") is True,
            has_tools=prompt.get("has_tools") is True,
            is_thinking=prompt.get("is_thinking") is True,
        )
        yield Reported(
            left_out=tuple(_notes(prompt.get("left_out"))),
            repairs=tuple(_notes(prompt.get("repairs"))),
            reused=dict(prompt.get("reused") or {}),
        )

    def _take(self, tokens: object, dropped: object) -> None:
        if isinstance(dropped, int) and dropped:
            # Those that a field holds stay: what it says is still what the message says.
            del self._ids[max(self._sealed, len(self._ids) - dropped) :]
        if isinstance(tokens, list):
            self._ids += tokens

    def _read(self, pieces: Sequence[Read]) -> Iterator[Operation]:
        for piece in pieces:
            if isinstance(piece, Called):
                key = f"call {self._calls}"
                self._calls += 1
                self._content.call(piece.name, piece.arguments)
                yield Begun(key, "tool_call", {"name": piece.name})
                yield Grown(key, piece.arguments)
                continue
            self._content.add(piece.type, piece.text)
            yield ReasoningDelta(piece.text) if piece.type == "reasoning" else TextDelta(piece.text)

    def _seal(self) -> list[Operation]:
        """Return the tokens that came since the last field as a field."""
        space = self._prompt.get("space")
        ids = tuple(self._ids[self._sealed :])
        if not isinstance(space, str) or not ids:
            return []
        prompt = bytes.fromhex(str(self._prompt.get("digest", "")))
        chunk = Chunk(prompt, self._content.length, self._content.digest, ids)
        self._sealed = len(self._ids)
        return [Sealed(seal(chunk, space=space, model=str(self._prompt.get("model", ""))))]

    def _finished(self, end: Mapping[str, Any]) -> Finished:
        stop_type = str(end.get("stop_type", ""))
        reason = _STOP_REASONS.get(stop_type, stop_type or "stop")
        if end.get("is_full") is True:
            reason = "context_overflow"
        elif self._calls and stop_type == "eos":
            reason = "tool_calls"
        usage = Usage(
            input_tokens=_count(end.get("input_tokens")),
            output_tokens=_count(end.get("output_tokens")),
            cached_tokens=_count(end.get("cached_tokens")),
            raw={key: end[key] for key in ("timings", "recoveries") if end.get(key)},
            raw_stop_reason=stop_type,
        )
        return Finished(reason, usage)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _notes(value: object) -> Iterator[Note]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield Note(str(item.get("about", "")), str(item.get("reason", "")))
