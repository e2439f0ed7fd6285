"""
From Gemini's stream to operations. Pure but for what it remembers.

Every event is a whole response with more parts; text goes on in the part before it, unless either
is signed: a signed part is never joined with another (facts, 4.1). A part that is nothing but a
signature keeps its place.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.errors import StreamBroken
from adapters.exchange import Begun, Finished, Grown, MediaDelta, Operation, Request, Sealed, Usage
from adapters.exchange.request import encode_json
from adapters.gemini.kinds import PART, SIGNATURE
from adapters.gemini.partial import PartialArgs
from adapters.http import error_in
from adapters.remote import maps
from adapters.spaces import Place

_STOP: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "LANGUAGE": "error",
    "OTHER": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "CONTINUATION": "pause",
}
_PARTIAL: Final = frozenset({"partialArgs", "willContinue"})
_CALL_KEYS: Final = frozenset({"id", "name", "args", *_PARTIAL})


class GenerateIngest:
    """Reads one answer."""

    def __init__(self, request: Request, place: Place) -> None:
        self._request = request
        self._place = place
        self._count = 0
        self._open: tuple[str, str] | None = None
        self._has_calls = False
        self._partial: PartialArgs | None = None
        self._stop: str | None = None
        self._usage: Mapping[str, Any] = {}
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
        if isinstance(event.get("usageMetadata"), dict):
            self._usage = event["usageMetadata"]
        if isinstance(event.get("modelVersion"), str):
            self._model = event["modelVersion"]
        feedback = event.get("promptFeedback")
        if isinstance(feedback, dict) and isinstance(feedback.get("blockReason"), str):
            self._stop = feedback["blockReason"]
        operations: list[Operation] = []
        for candidate in maps(event.get("candidates"))[:1]:
            content = candidate.get("content")
            for part in maps(content.get("parts")) if isinstance(content, dict) else ():
                operations += self._part(part)
            if isinstance(candidate.get("finishReason"), str):
                self._stop = candidate["finishReason"]
        return operations

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream.

        Raises:
            StreamBroken: Gemini never said why it stopped.
        """
        if self._stop is None:
            raise StreamBroken("the answer broke off before its end")
        reason = _STOP.get(self._stop, "content_filter" if self._stop.isupper() else self._stop)
        if self._has_calls and reason == "stop":
            reason = "tool_calls"
        return [*self._end_partial(), Finished(reason, self._counted(reason), self._model)]

    # Parts

    def _part(self, part: Mapping[str, Any]) -> list[Operation]:
        if isinstance(part.get("text"), str):
            return self._text(part, part["text"])
        if isinstance(part.get("functionCall"), dict):
            return self._call(part, part["functionCall"])
        inline = part.get("inlineData")
        if isinstance(inline, dict):
            return self._media(part, inline) or self._whole(part)
        return self._whole(part)

    def _text(self, part: Mapping[str, Any], text: str) -> list[Operation]:
        kind = "reasoning" if part.get("thought") is True else "text"
        rest = _others(part, "text", "thought")
        if not text:
            # Where it stands is all that it says.
            return self._whole(part) if rest else []
        if not rest and self._open is not None and self._open[0] == kind:
            return [Grown(self._open[1], text)]
        key = self._key()
        self._open = (kind, key) if not rest else None
        kept = {**rest, "thought": True} if kind == "reasoning" else rest
        return [Begun(key, kind), Grown(key, text), *self._seal(key, rest, kept)]

    def _call(self, part: Mapping[str, Any], call: Mapping[str, Any]) -> list[Operation]:
        if call.get("name") is None and self._partial is not None:
            return self._more_of(call)
        operations = self._end_partial()
        key = self._key()
        self._open, self._has_calls = None, True
        operations.append(Begun(key, "tool_call", {"call_id": call.get("id"), "name": call.get("name")}))
        rest, odd = _others(part, "functionCall"), _others(call, *_CALL_KEYS)
        operations += self._seal(key, {**rest, **odd}, {**rest, "functionCall": odd})
        if not _PARTIAL.isdisjoint(call):
            self._partial = PartialArgs(key)
            return operations + self._more_of(call)
        arguments = call.get("args") if isinstance(call.get("args"), dict) else {}
        return [*operations, Grown(key, encode_json(arguments).decode())]

    def _more_of(self, call: Mapping[str, Any]) -> list[Operation]:
        assert self._partial is not None
        for piece in maps(call.get("partialArgs")):
            self._partial.take(piece)
        return [] if call.get("willContinue") is True else self._end_partial()

    def _end_partial(self) -> list[Operation]:
        partial, self._partial = self._partial, None
        return [Grown(partial.key, encode_json(partial.value).decode())] if partial is not None else []

    def _seal(self, key: str, rest: Mapping[str, Any], kept: Mapping[str, Any]) -> list[Operation]:
        """Keep what stands beside a text or a call: a signature, or whatever else nobody knows."""
        signature = rest.get("thoughtSignature")
        if rest.keys() == {"thoughtSignature"} and isinstance(signature, str):
            return [Sealed(self._place.seal(SIGNATURE, signature), key)]
        return [Sealed(self._place.seal(PART, encode_json(dict(kept)).decode()), key)] if rest else []

    def _media(self, part: Mapping[str, Any], inline: Mapping[str, Any]) -> list[Operation]:
        rest = _others(part, "inlineData")
        if not rest.keys() <= {"thoughtSignature"} or inline.keys() != {"mimeType", "data"}:
            return []
        try:
            data = base64.b64decode(str(inline["data"]), validate=True)
        except (binascii.Error, ValueError):
            return []
        key, self._open = self._key(), None
        return [MediaDelta(key, str(inline["mimeType"]), data), *self._seal(key, rest, rest)]

    def _whole(self, part: Mapping[str, Any]) -> list[Operation]:
        key = self._key()
        self._open = None
        kind = next((name for name in part if name not in ("thoughtSignature", "thought")), PART)
        sealed = self._place.seal(PART, encode_json(dict(part)).decode())
        return [Begun(key, "opaque", {"kind": kind}), Sealed(sealed, key)]

    def _key(self) -> str:
        self._count += 1
        return str(self._count)

    # The end

    def _counted(self, reason: str) -> Usage:
        usage = self._usage
        written, thought = _number(usage, "candidatesTokenCount"), _number(usage, "thoughtsTokenCount")
        prompt, tools = _number(usage, "promptTokenCount"), _number(usage, "toolUsePromptTokenCount")
        return Usage(
            input_tokens=prompt + (tools or 0) if prompt is not None else None,
            output_tokens=(written or 0) + (thought or 0) if usage else None,
            cached_tokens=_number(usage, "cachedContentTokenCount"),
            reasoning_tokens=thought,
            raw=usage,
            raw_stop_reason=self._stop if self._stop != reason else None,
        )


def _others(values: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """Return what stands beside the keys that are known, and says something."""
    return {key: value for key, value in values.items() if key not in known and value not in (None, "")}


def _number(usage: Mapping[str, Any], key: str) -> int | None:
    value = usage.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
