"""
From the events of Chat Completions to operations. Pure but for what it remembers.

An event is a chunk with ``delta``, or a whole answer with ``message``. Reasoning comes as
``reasoning_content``, ``reasoning`` or parts of the content; of two that say the same, the first
counts. ``reasoning_details`` come in fragments, joined by type, index and id. Only the first
choice is read; keys that it does not know are passed over.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.errors import StreamBroken
from adapters.exchange import (
    Annotated,
    Begun,
    Finished,
    Grown,
    MediaDelta,
    Operation,
    Request,
    Sealed,
    Usage,
)
from adapters.exchange.request import encode_json
from adapters.http import DONE, error_in
from adapters.openai_chat.details import Details
from adapters.openai_chat.materialize import REASONING
from adapters.remote import is_json, maps
from adapters.spaces import NONE, Place

_REASONING_KEYS: Final = ("reasoning_content", "reasoning")
_STOP: Final = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}


class ChatIngest:
    """Reads one answer."""

    def __init__(self, request: Request, place: Place) -> None:
        self._request = request
        self._place = place
        self._begun: set[str] = set()
        self._calls: dict[int, str] = {}
        self._call_ids: dict[str, str] = {}
        self._arguments: dict[str, str] = {}
        self._reasoning_key: str | None = None
        self._details = Details()
        self._annotations: list[dict[str, Any]] = []
        self._extra: dict[tuple[str | None, str], Any] = {}
        self._raw_stop: str | None = None
        self._is_done = False
        self._counts_late = False
        self._upstream: str | None = None
        self._model: str | None = None
        self._usage: Mapping[str, Any] = {}

    def feed(self, event: Mapping[str, Any]) -> Sequence[Operation]:
        """
        Take one event.

        Raises:
            AdapterError: It is an error.
        """
        error = error_in(event, self._request.body)
        if error is not None:
            raise error
        self._is_done = self._is_done or event == DONE
        self._note(event)
        operations: list[Operation] = []
        for choice in maps(event.get("choices")):
            if choice.get("index") in (0, None):
                operations += self._choice(choice)
        return operations

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream.

        Raises:
            StreamBroken: The server never said why it stopped.
        """
        # Some never say why, and end with what they counted, or with the word for it.
        if self._raw_stop is None and not (self._is_done or (self._usage and self._counts_late)):
            raise StreamBroken("the answer broke off before its end")
        operations: list[Operation] = []
        if self._annotations and "text" in self._begun:
            operations.append(Annotated("text", {"citations": self._annotations}))
        return [*operations, *self._sealed(), Finished(self._stop_reason(), self._counted(), self._model)]

    # Events

    def _note(self, event: Mapping[str, Any]) -> None:
        usage = event.get("usage")
        if isinstance(usage, dict) and usage:
            self._usage = usage
        elif event.get("choices"):
            self._counts_late = True
        for key in ("model", "provider"):
            if isinstance(event.get(key), str) and event[key]:
                setattr(self, "_model" if key == "model" else "_upstream", event[key])

    def _choice(self, choice: Mapping[str, Any]) -> list[Operation]:
        is_whole = isinstance(choice.get("message"), dict)
        delta = choice["message"] if is_whole else choice.get("delta")
        operations = self._delta(delta, is_whole=is_whole) if isinstance(delta, dict) else []
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and (reason or is_whole):
            self._raw_stop = reason
        elif is_whole:
            self._raw_stop = ""
        return operations

    def _delta(self, delta: Mapping[str, Any], *, is_whole: bool) -> list[Operation]:
        operations = self._reasoning(delta, is_whole=is_whole)
        operations += self._content(delta.get("content"))
        if isinstance(delta.get("refusal"), str):
            operations += self._grow("refusal", "text", delta["refusal"], refusal=True)
        for place, call in enumerate(maps(delta.get("tool_calls"))):
            operations += self._call(call, place if is_whole else call.get("index", place))
        old = delta.get("function_call")
        if isinstance(old, dict) and (old.get("name") or old.get("arguments")):
            operations += self._call({"function": old}, 0)
        self._annotations += [_citation(entry) for entry in maps(delta.get("annotations"))]
        for key in ("extra_content", "thought_signature"):
            if delta.get(key):
                self._extra[None, key] = delta[key]
        return operations + self._media(delta)

    def _reasoning(self, delta: Mapping[str, Any], *, is_whole: bool) -> list[Operation]:
        details = maps(delta.get("reasoning_details"))
        self._details.take(details, is_whole=is_whole)
        for key in _REASONING_KEYS:
            text = delta.get(key)
            if isinstance(text, str) and text and self._reasoning_key in (None, key):
                self._reasoning_key = key
                return self._grow("reasoning", "reasoning", text)
        # Some send it in the details alone.
        shown = "".join(str(entry.get("text") or entry.get("summary") or "") for entry in details)
        if shown and self._reasoning_key in (None, "reasoning_details"):
            self._reasoning_key = "reasoning_details"
            return self._grow("reasoning", "reasoning", shown)
        return []

    def _content(self, content: Any) -> list[Operation]:
        if isinstance(content, str):
            return self._grow("text", "text", content)
        operations: list[Operation] = []
        for part in maps(content):
            if part.get("type") == "thinking":
                self._reasoning_key = "thinking"
                thought = "".join(str(item.get("text", "")) for item in maps(part.get("thinking")))
                operations += self._grow("reasoning", "reasoning", thought)
            elif isinstance(part.get("text"), str):
                operations += self._grow("text", "text", part["text"])
        return operations

    def _grow(self, key: str, part_type: str, text: str, **content: Any) -> list[Operation]:
        if not text:
            return []
        begun = [] if key in self._begun else [Begun(key, part_type, content)]
        self._begun.add(key)
        return [*begun, Grown(key, text)]

    def _call(self, call: Mapping[str, Any], index: Any) -> list[Operation]:
        index = index if isinstance(index, int) else 0
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        given = call.get("id")
        call_id = given if isinstance(given, str) else ""
        key = self._calls.get(index)
        operations: list[Operation] = []
        if key is None or self._is_another(key, call_id, function):
            key = self._calls[index] = f"call {len(self._call_ids)}"
            self._call_ids[key] = call_id
            content = {"name": str(function.get("name") or "")} | ({"call_id": call_id} if call_id else {})
            operations.append(Begun(key, "tool_call", content))
        if call.get("extra_content"):
            self._extra[key, "extra_content"] = call["extra_content"]
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = encode_json(arguments).decode()
        if not isinstance(arguments, str) or not arguments:
            return operations
        self._arguments[key] = self._arguments.get(key, "") + arguments
        return [*operations, Grown(key, arguments)]

    def _is_another(self, key: str, call_id: str, function: Mapping[str, Any]) -> bool:
        """Whether a fragment begins another call than that of its index: some give all the same, or none."""
        if call_id and self._call_ids[key]:
            return call_id != self._call_ids[key]
        # Without ids: a name again, behind arguments that are whole.
        return not call_id and bool(function.get("name")) and is_json(self._arguments.get(key))

    def _media(self, delta: Mapping[str, Any]) -> list[Operation]:
        operations: list[Operation] = []
        for image in maps(delta.get("images")):
            url = image.get("image_url")
            found = _data_url(url.get("url") if isinstance(url, dict) else None)
            if found is not None:
                operations.append(MediaDelta(f"image {len(self._begun)}", *found))
                self._begun.add(f"image {len(self._begun)}")
        audio = delta.get("audio")
        if isinstance(audio, dict):
            operations += self._grow("text", "text", str(audio.get("transcript") or ""))
        return operations

    # The end

    def _sealed(self) -> list[Operation]:
        space = f"{self._place.space}/{self._upstream}" if self._place.space == "openrouter" else None
        at = "reasoning" if "reasoning" in self._begun else None
        operations: list[Operation] = []
        if at is not None and self._reasoning_key not in (None, "reasoning_details"):
            field = self._place.seal(REASONING, self._reasoning_key, space=NONE)
            operations.append(Sealed(field, at))
        if self._details.entries:
            text = encode_json(self._details.entries).decode()
            operations.append(Sealed(self._place.seal("reasoning_details", text, space=space), at))
        for (key, kind), value in self._extra.items():
            field = self._place.seal(kind, encode_json(value).decode(), space=space)
            operations.append(Sealed(field, key))
        return operations

    def _stop_reason(self) -> str:
        if "refusal" in self._begun:
            return "refusal"
        raw = self._raw_stop or ""
        reason = _STOP.get(raw, raw)
        # Some say "stop", or nothing at all, when they wait for results.
        if self._call_ids and reason in ("stop", ""):
            return "tool_calls"
        return reason or "stop"

    def _counted(self) -> Usage:
        usage = self._usage
        read, written = _details(usage, "prompt_tokens_details"), _details(usage, "completion_tokens_details")
        cost = usage.get("cost")
        return Usage(
            input_tokens=_count(usage.get("prompt_tokens")),
            output_tokens=_count(usage.get("completion_tokens")),
            cached_tokens=_count(read.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))),
            cache_write_tokens=_count(read.get("cache_write_tokens")),
            reasoning_tokens=_count(written.get("reasoning_tokens")),
            cost=float(cost) if isinstance(cost, int | float) else None,
            raw=usage,
            raw_stop_reason=self._raw_stop if self._raw_stop != self._stop_reason() else None,
        )


def _citation(annotation: Mapping[str, Any]) -> dict[str, Any]:
    inner = annotation.get("url_citation")
    found = {"type": annotation.get("type"), **inner} if isinstance(inner, dict) else dict(annotation)
    return {key: value for key, value in found.items() if value is not None}


def _data_url(url: object) -> tuple[str, bytes] | None:
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    head, _, coded = url[5:].partition(",")
    mime = head.removesuffix(";base64")
    try:
        return mime, base64.b64decode(coded, validate=True)
    except binascii.Error:
        return None


def _details(usage: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = usage.get(key)
    return found if isinstance(found, dict) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
