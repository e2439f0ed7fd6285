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


class GenerateIngest:
    """Reads one answer."""

    def __init__(self, request: Request, place: Place) -> None:
        self._request = request
        self._place = place
        self._count = 0
        self._open: tuple[str, str] | None = None
        self._has_calls = False
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
        return [Finished(reason, self._counted(reason), self._model)]

    # Parts

    def _part(self, part: Mapping[str, Any]) -> list[Operation]:
        signature = part.get("thoughtSignature")
        signed = signature if isinstance(signature, str) and signature else None
        if isinstance(part.get("text"), str) and part.keys() <= {"text", "thought", "thoughtSignature"}:
            return self._text(part, part["text"], signed)
        if isinstance(part.get("functionCall"), dict) and part.keys() <= {"functionCall", "thoughtSignature"}:
            return self._call(part["functionCall"], signed)
        inline = part.get("inlineData")
        if isinstance(inline, dict) and signed is None:
            media = self._media(inline)
            if media is not None:
                return [media]
        return self._whole(part)

    def _text(self, part: Mapping[str, Any], text: str, signed: str | None) -> list[Operation]:
        kind = "reasoning" if part.get("thought") is True else "text"
        if not text:
            # Where it stands is all that it says.
            return self._whole(part) if signed is not None else []
        if signed is None and self._open is not None and self._open[0] == kind:
            return [Grown(self._open[1], text)]
        key = self._key()
        self._open = (kind, key) if signed is None else None
        begun: list[Operation] = [Begun(key, kind), Grown(key, text)]
        return begun + ([Sealed(self._place.seal(SIGNATURE, signed), key)] if signed is not None else [])

    def _call(self, call: Mapping[str, Any], signed: str | None) -> list[Operation]:
        key = self._key()
        self._open, self._has_calls = None, True
        arguments = call.get("args") if isinstance(call.get("args"), dict) else {}
        operations: list[Operation] = [
            Begun(key, "tool_call", {"call_id": call.get("id"), "name": call.get("name")}),
            Grown(key, encode_json(arguments).decode()),
        ]
        if signed is not None:
            operations.append(Sealed(self._place.seal(SIGNATURE, signed), key))
        return operations

    def _media(self, inline: Mapping[str, Any]) -> Operation | None:
        try:
            data = base64.b64decode(str(inline.get("data")), validate=True)
        except (binascii.Error, ValueError):
            return None
        self._open = None
        return MediaDelta(self._key(), str(inline.get("mimeType") or "application/octet-stream"), data)

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


def _number(usage: Mapping[str, Any], key: str) -> int | None:
    value = usage.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
