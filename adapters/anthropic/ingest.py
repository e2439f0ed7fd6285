"""
From the events of the Messages API to operations. Pure but for what it remembers.

Every block becomes a part, in order. Of blocks that it does not know, and of tools that ran at
the provider, the whole block is kept as a hidden field, and an ``opaque`` part holds its place. A
whole message, as it comes without streaming, is read as its events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from adapters.anthropic.answers import CITATIONS, CONTAINER, THINKING, TOOL_USE
from adapters.anthropic.models import binds_prefix
from adapters.errors import StreamBroken
from adapters.exchange import Annotated, Begun, Finished, Grown, Operation, Request, Sealed, Usage
from adapters.exchange.request import encode_json
from adapters.http import error_in
from adapters.remote import maps
from adapters.spaces import Place

_STOP: Final = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "compaction": "pause",
    "refusal": "refusal",
    "model_context_window_exceeded": "context_overflow",
}
_KNOWN: Final = frozenset({"text", "thinking", "tool_use"})
_PLAIN_CALL: Final = frozenset({"type", "id", "name", "input"})
_DIRECT: Final = {"type": "direct"}
_SEALED_KEYS: Final = frozenset({"encrypted_index"})


class MessagesIngest:
    """Reads one answer."""

    def __init__(self, request: Request, place: Place) -> None:
        self._request = request
        self._place = place
        self._blocks: dict[int, dict[str, Any]] = {}
        self._json: dict[int, list[str]] = {}
        self._usage: dict[str, Any] = {}
        self._raw_stop: str | None = None
        self._details: Mapping[str, Any] = {}
        self._container: Mapping[str, Any] | None = None
        self._model: str | None = None

    def feed(self, event: Mapping[str, Any]) -> Sequence[Operation]:
        """
        Take one event.

        Raises:
            AdapterError: It is an error.
        """
        error = error_in(event, self._request.body)
        if error is not None:
            raise error
        match event.get("type"):
            case "message":
                return [op for inner in _events_of(event) for op in self.feed(inner)]
            case "message_start":
                self._start(event.get("message"))
            case "message_delta":
                self._delta(event)
            case "content_block_start":
                return self._begin(_index(event), event.get("content_block"))
            case "content_block_delta":
                return self._grow(_index(event), event.get("delta"))
            case "content_block_stop":
                return self._stop(_index(event))
        return []

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream.

        Raises:
            StreamBroken: The provider never said why it stopped.
        """
        if self._raw_stop is None:
            raise StreamBroken("the answer broke off before its end")
        # A server that ends its message need not have ended each block.
        sealed = [operation for index in tuple(self._blocks) for operation in self._stop(index)]
        if self._container is not None and isinstance(self._container.get("id"), str):
            expires = _ms(self._container.get("expires_at"))
            field = self._place.seal(CONTAINER, self._container["id"], binding="server", expires=expires)
            sealed.append(Sealed(field))
        reason = _STOP.get(self._raw_stop, self._raw_stop)
        return [*sealed, Finished(reason, self._counted(reason), self._model)]

    # The message

    def _start(self, message: object) -> None:
        if self._blocks:
            raise StreamBroken("the answer began anew in its middle")
        if isinstance(message, dict):
            self._model = message.get("model") if isinstance(message.get("model"), str) else None
            self._count(message.get("usage"))
            self._contain(message.get("container"))

    def _delta(self, event: Mapping[str, Any]) -> None:
        self._count(event.get("usage"))
        delta = event.get("delta")
        if isinstance(delta, dict):
            if isinstance(delta.get("stop_reason"), str):
                self._raw_stop = delta["stop_reason"]
            if isinstance(delta.get("stop_details"), dict):
                self._details = delta["stop_details"]
            self._contain(delta.get("container"))

    def _contain(self, container: object) -> None:
        if isinstance(container, dict):
            self._container = container

    def _count(self, usage: object) -> None:
        if isinstance(usage, dict):
            # Counts grow; what a later event leaves out still holds.
            self._usage |= {key: value for key, value in usage.items() if value is not None}

    # Blocks

    def _begin(self, index: int, block: object) -> list[Operation]:
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            return []
        self._blocks[index] = dict(block)
        self._json[index] = []
        key = str(index)
        match block["type"]:
            case "text":
                return [Begun(key, "text"), *_more(key, block.get("text"))]
            case "thinking":
                return [Begun(key, "reasoning"), *_more(key, block.get("thinking"))]
            case "tool_use":
                return [Begun(key, "tool_call", {"call_id": block.get("id"), "name": block.get("name")})]
            case kind:
                name = {"name": block["name"]} if isinstance(block.get("name"), str) else {}
                return [Begun(key, "opaque", {"kind": kind, **name})]

    def _grow(self, index: int, delta: object) -> list[Operation]:
        block = self._blocks.get(index)
        if block is None or not isinstance(delta, dict):
            return []
        match block["type"], delta.get("type"):
            case "text", "text_delta":
                return _more(str(index), delta.get("text"))
            case "thinking", "thinking_delta":
                return _more(str(index), delta.get("thinking"))
            case _, "input_json_delta":
                return self._more_json(index, block, delta.get("partial_json"))
            case _, "signature_delta":
                block["signature"] = delta.get("signature") or block.get("signature")
            case _, "citations_delta":
                block["citations"] = [*(block.get("citations") or ()), delta.get("citation")]
            case _, "compaction_delta":
                block |= _known(delta, frozenset({"type"}))
            case kind, _ if kind not in _KNOWN:
                _join(block, delta)
        return []

    def _more_json(self, index: int, block: Mapping[str, Any], text: object) -> list[Operation]:
        if not isinstance(text, str):
            return []
        self._json[index].append(text)
        return _more(str(index), text) if block["type"] == "tool_use" else []

    def _stop(self, index: int) -> list[Operation]:
        # Taken out: a second end of it says nothing.
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        key = str(index)
        match block["type"]:
            case "text":
                return self._cited(key, block.get("citations"))
            case "thinking":
                return self._thought(key, block.get("signature"))
            case "tool_use":
                return self._called(key, index, block)
            case kind:
                whole = self._whole(index, block)
                binding = self._binding() if kind == "redacted_thinking" else {}
                return [Sealed(self._place.seal(kind, whole, **binding), key)]

    def _cited(self, key: str, citations: object) -> list[Operation]:
        cited = maps(citations)
        if not cited:
            return []
        shown = [_known(citation, _SEALED_KEYS) for citation in cited]
        field = self._place.seal(CITATIONS, encode_json(cited).decode())
        return [Annotated(key, {"citations": shown}), Sealed(field, key)]

    def _thought(self, key: str, signature: object) -> list[Operation]:
        # Other servers of this API sign nothing, and some want the reasoning back all the same.
        if not signature and self._place.space == "anthropic":
            return []
        text = signature if isinstance(signature, str) else ""
        return [Sealed(self._place.seal(THINKING, text, **self._binding()), key)]

    def _called(self, key: str, index: int, block: Mapping[str, Any]) -> list[Operation]:
        operations: list[Operation] = []
        if not any(self._json[index]) and isinstance(block.get("input"), dict):
            operations.append(Grown(key, encode_json(block["input"]).decode()))
        extra = _known(block, _PLAIN_CALL)
        if extra.get("caller") == _DIRECT:
            del extra["caller"]
        if extra:
            operations.append(Sealed(self._place.seal(TOOL_USE, encode_json(extra).decode()), key))
        return operations

    def _whole(self, index: int, block: dict[str, Any]) -> str:
        if any(self._json[index]):
            # What it held at its start stays, where this is no JSON.
            with suppress(ValueError, RecursionError):
                block["input"] = json.loads("".join(self._json[index]))
        return encode_json(block).decode()

    def _binding(self) -> dict[str, Any]:
        if self._place.space == "anthropic" and binds_prefix(self._place.model):
            return {"binding": "prefix", "prefix": self._request.prefix}
        return {}

    # The end

    def _counted(self, reason: str) -> Usage:
        usage = self._usage
        read = _number(usage, "cache_read_input_tokens")
        written = _number(usage, "cache_creation_input_tokens")
        fresh = _number(usage, "input_tokens")
        details = usage.get("output_tokens_details")
        raw = ":".join(filter(None, (self._raw_stop, str(self._details.get("category") or ""))))
        return Usage(
            input_tokens=fresh + (read or 0) + (written or 0) if fresh is not None else None,
            output_tokens=_number(usage, "output_tokens"),
            cached_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=_number(details, "thinking_tokens") if isinstance(details, dict) else None,
            raw=usage,
            raw_stop_reason=raw if raw != reason else None,
        )


def _events_of(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events that a whole message would have come in."""
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(maps(message.get("content"))):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": message, "usage": message.get("usage")}


def _known(values: Mapping[str, Any], but: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in but and value is not None}


def _join(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Put together what came in pieces: texts grow, and what is no text replaces what stood there."""
    for key, value in delta.items():
        before = block.get(key)
        if key != "type" and value is not None:
            block[key] = before + value if isinstance(before, str) and isinstance(value, str) else value


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else -1


def _more(key: str, text: object) -> list[Operation]:
    return [Grown(key, text)] if isinstance(text, str) and text else []


def _number(usage: Mapping[str, Any], key: str) -> int | None:
    value = usage.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _ms(time: object) -> int | None:
    try:
        return int(datetime.fromisoformat(str(time)).timestamp() * 1000)
    except ValueError:
        return None
