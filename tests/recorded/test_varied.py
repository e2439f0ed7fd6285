"""Real answers as another server could have sent them: the next request is the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters import AdapterError
from crdt_conv import Message, Store
from tests.recorded.files import Exchange, exchanges, files
from tests.recorded.mixed import MixedReader, api_of
from tests.recorded.replay import Replay
from tests.recorded.test_openai_responses import has_ended, is_in_log

APIS = ("anthropic", "gemini", "openai-chat", "openai-responses")
FOLDERS = ("anthropic", "openai-responses", "openai-chat", "openai-compatible", "openrouter", "gemini")

Event = dict[str, Any]


def reordered(events: list[Event]) -> Iterator[Event]:
    """Yield events with the keys of each object the other way round."""
    yield from (_deep(event, lambda entry: dict(reversed(entry.items()))) for event in events)


def with_unknown_keys(events: list[Event]) -> Iterator[Event]:
    """Yield events with a key that nobody knows beside what they say."""
    yield from ({**event, "x_new": {"type": "text", "text": "?"}, "obfuscation": "aaa"} for event in events)


def with_unknown_events(events: list[Event]) -> Iterator[Event]:
    """Yield events with others between them that nobody knows, and empty ones."""
    for event in events:
        yield {"type": "x.new", "delta": {"type": "x_delta", "x": 1}, "object": "x"}
        yield event
        yield {}


def with_the_last_twice(events: list[Event]) -> Iterator[Event]:
    """Yield events with the one that ends the answer repeated."""
    yield from events
    # Gemini has no such event: what its last one says is part of the answer.
    if events and "candidates" not in events[-1]:
        yield {**events[-1], "choices": []} if "choices" in events[-1] else events[-1]


def with_empty_deltas(events: list[Event]) -> Iterator[Event]:
    """Yield events, each behind one like it that adds nothing."""
    for event in events:
        yield from _emptied(event)
        yield event


def _emptied(event: Event) -> Iterator[Event]:
    if isinstance(event.get("delta"), str):
        yield {**event, "delta": ""}
    elif event.get("type") == "content_block_delta":
        texts = ("text", "thinking", "partial_json")
        if any(key in event["delta"] for key in texts):
            yield {**event, "delta": {key: "" if key in texts else v for key, v in event["delta"].items()}}
    elif event.get("object") == "chat.completion.chunk" and event.get("choices"):
        yield {
            **event,
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}],
            "usage": None,
        }


def _deep(value: Any, change: Callable[[Event], Event]) -> Any:
    if isinstance(value, dict):
        return change({key: _deep(item, change) for key, item in value.items()})
    return [_deep(item, change) for item in value] if isinstance(value, list) else value


VARIATIONS = (reordered, with_unknown_keys, with_unknown_events, with_the_last_twice, with_empty_deltas)


def after(exchange: Exchange) -> tuple[list[tuple[str, str]], str] | None:
    """Return what an answer says and the request after it, without ids that are drawn anew; or nothing."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), MixedReader())
        head, request, _ = replay.materialize(exchange)
        try:
            answer = replay.answer(exchange, head, request)
        except AdapterError:
            return None
        if answer is None:
            return None
        body = json.loads(replay.ask(exchange, replay.go_on(answer))[0].content)
        return _said(answer), _without_drawn_ids(json.dumps(body, sort_keys=True), answer)


def _said(answer: Message) -> list[tuple[str, str]]:
    return [(part.type, part.text) for part in answer.parts]


def _without_drawn_ids(body: str, answer: Message) -> str:
    calls = [part.content["call_id"] for part in answer.parts if part.type == "tool_call"]
    for number, call in enumerate(calls):
        body = body.replace(call, f"call {number}")
    return body


@pytest.mark.parametrize("vary", VARIATIONS)
@pytest.mark.parametrize("path", files(*FOLDERS))
def test_however_it_is_sent_it_is_the_same(
    path: Path, vary: Callable[[list[Event]], Iterator[Event]]
) -> None:
    """Order of keys, keys and events that nobody knows, repeated ends and empty pieces change nothing."""
    for exchange in exchanges(path, *APIS):
        is_asked = api_of(exchange) != "openai-responses" or (is_in_log(exchange) and has_ended(exchange))
        if exchange.is_stream and is_asked:
            varied = replace(exchange, events=list(vary(exchange.events)))
            assert after(varied) == after(exchange)
