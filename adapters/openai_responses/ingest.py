"""
From the events of the Responses API to operations. Pure but for what it remembers.

Sealed reasoning is taken from ``response.output_item.done``: the copy at the item's beginning may be
half, and the one in the whole response is another ciphertext of the same thought (facts, 2.3). A whole
response, as it comes without streaming, is read as its events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adapters.errors import StreamBroken
from adapters.exchange import Annotated, Begun, Finished, Grown, Operation, Reported, Request, Sealed, Usage
from adapters.exchange.request import encode_json
from adapters.http import error_in
from adapters.openai_responses.background import BACKGROUND, id_of, is_background
from adapters.openai_responses.kinds import (
    CALL,
    CALL_KEYS,
    CUSTOM,
    ENDS,
    INPUT,
    MESSAGE,
    REASONING,
    RESPONSE,
    TEXTS,
)
from adapters.openai_responses.materialize import is_holding
from adapters.remote import maps
from adapters.spaces import NONE, Place

_INCOMPLETE: Final = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
    "steered": "stop",
}
_DELTAS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THOUGHTS: Final = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_ARGUMENTS: Final = "response.function_call_arguments.delta"
_INPUT: Final = "response.custom_tool_call_input.delta"


class ResponsesIngest:
    """Reads one answer."""

    def __init__(self, request: Request, place: Place) -> None:
        self._request = request
        self._place = place
        self._shown: dict[str, str] = {}
        self._thought: dict[str, tuple[str, int]] = {}
        self._ended: set[str] = set()
        self._opaque: set[str] = set()
        # Others by such a call ran at the provider.
        tools = maps((request.body or {}).get("tools"))
        self._custom = {tool.get("name") for tool in tools if tool.get("type") == "custom"}
        self._has_calls = False
        self._response: Mapping[str, Any] | None = None

    def feed(self, event: Mapping[str, Any]) -> Sequence[Operation]:
        """
        Take one event.

        Raises:
            AdapterError: It is an error.
        """
        self._check(event)
        kind = event.get("type")
        if event.get("object") == "response":
            return [op for inner in _events_of(event) for op in self.feed(inner)]
        if kind in ENDS and isinstance(event.get("response"), dict):
            self._response = event["response"]
            # Some servers say what an item holds at the end of all alone.
            return [] if self._ended else self._end_items(maps(event["response"].get("output")))
        index, item = _index(event), event.get("item")
        match kind:
            case "response.created" if is_background(self._request) and (name := id_of(event)):
                return [Reported(reused={BACKGROUND: name})]
            case "response.output_item.added" if isinstance(item, dict):
                return self._begin(index, item)
            case "response.output_item.done" if isinstance(item, dict):
                return self._end_item(index, item)
            case _ if kind in _DELTAS:
                return self._more(_key(index, event.get("content_index")), event.get("delta"))
            case _ if kind == _ARGUMENTS:
                return self._more(index, event.get("delta"))
            case _ if kind == _INPUT:
                return self._more(index, escaped(event.get("delta")))
            case _ if kind in _THOUGHTS:
                return self._think(index, event)
        return []

    def _check(self, event: Mapping[str, Any]) -> None:
        response = event.get("response")
        said: Mapping[str, Any] = event
        if event.get("type") == "error" and not isinstance(event.get("error"), dict):
            said = {"error": {key: event.get(key) for key in ("code", "message", "param", "type")}}
        elif isinstance(response, dict) and response.get("status") == "failed":
            said = {"error": response.get("error") or {"message": "the answer failed"}}
        error = error_in(said, self._request.body)
        if error is not None:
            raise error

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream.

        Raises:
            StreamBroken: The provider never said that it had come to its end.
        """
        response = self._response
        if response is None:
            raise StreamBroken("the answer broke off before its end")
        sealed: list[Operation] = []
        body = self._request.body or {}
        is_held = (
            is_holding(self._place) and body.get("store") is not False and response.get("store") is not False
        )
        if isinstance(response.get("id"), str) and is_held:
            field = self._place.seal(RESPONSE, response["id"], binding="server", prefix=self._request.prefix)
            sealed.append(Sealed(field))
        model = response.get("model")
        return [
            *sealed,
            Finished(self._reason(response), _usage(response), model if isinstance(model, str) else None),
        ]

    def _reason(self, response: Mapping[str, Any]) -> str:
        details = response.get("incomplete_details")
        if response.get("status") == "incomplete":
            said = str(details.get("reason")) if isinstance(details, dict) else "incomplete"
            return _INCOMPLETE.get(said, said)
        return "tool_calls" if self._has_calls else "stop"

    # Items

    def _begin(self, index: str, item: Mapping[str, Any]) -> list[Operation]:
        match item.get("type"):
            case "message":
                return []
            case "reasoning":
                return self._part(index, "reasoning")
            case "function_call":
                self._has_calls = True
                content = {"call_id": item.get("call_id"), "name": item.get("name")}
                return self._part(index, "tool_call", content)
            case "custom_tool_call" if item.get("name") in self._custom:
                self._has_calls = True
                content = {"call_id": item.get("call_id"), "name": item.get("name")}
                begun = self._part(index, "tool_call", content)
                return [*begun, *self._more(index, INPUT[0])] if begun else []
            case kind:
                return self._part(index, "opaque", {"kind": str(kind)})

    def _part(self, key: str, kind: str, content: Mapping[str, Any] | None = None) -> list[Operation]:
        if key in self._shown:
            return []
        self._shown[key] = ""
        if kind == "opaque":
            self._opaque.add(key)
        return [Begun(key, kind, content or {})]

    def _more(self, key: str, text: object) -> list[Operation]:
        if not isinstance(text, str) or not text or key in self._opaque:
            return []
        # A text begins with its first piece.
        begun = self._part(key, "text")
        self._shown[key] += text
        return [*begun, Grown(key, text)]

    def _think(self, index: str, event: Mapping[str, Any]) -> list[Operation]:
        delta, kind = event.get("delta"), str(event.get("type"))
        place = (kind, event.get("summary_index") or event.get("content_index") or 0)
        if not isinstance(delta, str) or not delta:
            return []
        before = self._thought.get(index, place)
        self._thought[index] = place
        begun = self._part(index, "reasoning")
        text = f"\n\n{delta}" if before != place and self._shown[index] else delta
        self._shown[index] += text
        return [*begun, Grown(index, text)]

    def _end_items(self, items: Sequence[dict[str, Any]]) -> list[Operation]:
        return [op for index, item in enumerate(items) for op in self._end_item(str(index), item)]

    def _end_item(self, index: str, item: Mapping[str, Any]) -> list[Operation]:
        if index in self._ended:
            # The first counts: the copy may be another ciphertext of the same.
            return []
        self._ended.add(index)
        match item.get("type"):
            case "message":
                return self._end_message(index, item)
            case "reasoning":
                said = [
                    entry.get("text") for entry in (*maps(item.get("summary")), *maps(item.get("content")))
                ]
                text = "\n\n".join(entry for entry in said if isinstance(entry, str))
                return [
                    *self._begin(index, item),
                    *self._rest(index, text),
                    self._sealed_thought(index, item),
                ]
            case "function_call":
                arguments = item.get("arguments")
                operations = [*self._begin(index, item), *self._rest(index, arguments)]
                extra = {
                    key: value for key, value in item.items() if key not in CALL_KEYS and value is not None
                }
                return [*operations, Sealed(self._place.seal(CALL, _text(extra)), index)]
            case "custom_tool_call" if item.get("name") in self._custom:
                given = escaped(item.get("input"))
                whole = f"{INPUT[0]}{given}{INPUT[1]}" if given is not None else None
                operations = [*self._begin(index, item), *self._rest(index, whole)]
                extra = {key: value for key, value in item.items() if key not in ("call_id", "name", "input")}
                return [*operations, Sealed(self._place.seal(CUSTOM, _text(extra)), index)]
            case kind:
                return [*self._begin(index, item), Sealed(self._place.seal(str(kind), _text(item)), index)]

    def _sealed_thought(self, index: str, item: Mapping[str, Any]) -> Sealed:
        is_sealed = isinstance(item.get("encrypted_content"), str)
        is_plain = not is_sealed and bool(maps(item.get("content")))
        # With neither it is a name of what the provider holds, and may lose.
        binding = "self" if is_sealed or is_plain else "server"
        space = NONE if is_plain and not is_holding(self._place) and not item.get("id") else None
        return Sealed(self._place.seal(REASONING, _text(item), binding=binding, space=space), index)

    def _end_message(self, index: str, item: Mapping[str, Any]) -> list[Operation]:
        operations: list[Operation] = []
        contents: list[dict[str, Any]] = []
        first: str | None = None
        for at, content in enumerate(maps(item.get("content"))):
            key, name = _key(index, at), TEXTS.get(str(content.get("type")))
            if name is None or not (content.get(name) or self._shown.get(key)):
                # No part says it: it stays where it is.
                contents.append(content)
                continue
            operations += [*self._part(key, "text"), *self._rest(key, content.get(name))]
            first = first or key
            contents.append({k: v for k, v in content.items() if k != name and (v or k != "logprobs")})
            if name == "refusal":
                operations.append(Annotated(key, {"refusal": True}))
            if maps(content.get("annotations")):
                operations.append(Annotated(key, {"citations": maps(content["annotations"])}))
        kept = Sealed(self._place.seal(MESSAGE, _text({**item, "content": contents})), first or index)
        # One without a word still pairs with the reasoning before it.
        begun = self._part(index, "opaque", {"kind": "message"}) if first is None else []
        return [*begun, *operations, kept]

    def _rest(self, key: str, whole: object) -> list[Operation]:
        """Grow a part by what did not come in pieces."""
        shown = self._shown[key]
        if not isinstance(whole, str) or not whole.startswith(shown) or whole == shown:
            return []
        self._shown[key] = whole
        return [Grown(key, whole[len(shown) :])]


def _events_of(response: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events that a whole response would have come in."""
    for index, item in enumerate(maps(response.get("output"))):
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    if response.get("status") not in ("queued", "in_progress"):
        yield {"type": "response.completed", "response": {**response, "object": None}}


def _index(event: Mapping[str, Any]) -> str:
    """Return what names an item: its place, or its id where a server does not count."""
    if isinstance(event.get("output_index"), int):
        return str(event["output_index"])
    item = event.get("item")
    return str(event.get("item_id") or (item.get("id") if isinstance(item, dict) else None))


def _key(index: str, content_index: object) -> str:
    return f"{index}.{content_index if isinstance(content_index, int) else 0}"


def escaped(text: object) -> str | None:
    """Return a text as it stands between the quotes of JSON."""
    return encode_json(text).decode()[1:-1] if isinstance(text, str) else None


def _text(item: Mapping[str, Any]) -> str:
    return encode_json(dict(item)).decode()


def _usage(response: Mapping[str, Any]) -> Usage:
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return Usage()
    inputs, outputs = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    reason = response.get("incomplete_details")
    return Usage(
        input_tokens=_number(usage, "input_tokens"),
        output_tokens=_number(usage, "output_tokens"),
        cached_tokens=_number(inputs, "cached_tokens"),
        cache_write_tokens=_number(inputs, "cache_write_tokens"),
        reasoning_tokens=_number(outputs, "reasoning_tokens"),
        raw=usage,
        raw_stop_reason=str(reason.get("reason")) if isinstance(reason, dict) else None,
    )


def _number(usage: object, key: str) -> int | None:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
