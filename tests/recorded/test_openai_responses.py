"""The Responses API, as it was really spoken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import Store
from tests.recorded.files import Exchange, exchanges, files
from tests.recorded.replay import MISSING, Difference, Replay, Rule, differences
from tests.recorded.responses import ResponsesReader


def last(d: Difference, *keys: str) -> bool:
    """Whether a difference is at one of these keys."""
    return d.path[-1] in keys


RULES: list[Rule] = [
    Rule("stream", "we always stream", lambda d, _: d.path == ("stream",)),
    Rule(
        "sealed reasoning",
        "we always ask for it, so that all can be sent again when a handle is lost",
        lambda d, _: d.path[0] == "include" and "reasoning.encrypted_content" in str(d.ours),
    ),
    Rule(
        "nothing said",
        "null, an empty list and no key at all are the same",
        lambda d, _: d.recorded in (None, [], "", MISSING) and d.ours in (None, [], "", MISSING),
    ),
    Rule(
        "status",
        "an item goes back with the status that it came with; it may be left out",
        lambda d, _: last(d, "status") and d.recorded in (None, MISSING) and d.ours == "completed",
    ),
    Rule(
        "ids",
        "an item goes back with the id that it came with; without one it pairs with nothing",
        lambda d, _: last(d, "id") and d.recorded == MISSING,
    ),
    Rule(
        "arguments",
        "the recording's client wrote the JSON anew; we send what the model wrote",
        lambda d, _: last(d, "arguments") and json.loads(d.recorded) == json.loads(d.ours),
    ),
    Rule(
        "search",
        "the recording's client wrote the search anew; the API wants its items back as they were",
        lambda d, _: d.path[-2:-1] == ("arguments",) and last(d, "paths", "queries"),
    ),
    Rule(
        "ids of calls",
        "the recording's client made its own of them; we send the provider's, call and result alike",
        lambda d, _: (last(d, "call_id") and d.recorded.endswith((d.ours, ":" + d.ours))) or is_own_id(d),
    ),
    Rule(
        "a plain message",
        "the recording's client sent the text alone; we send the item",
        lambda d, _: (last(d, "type") and d.ours == "message") or (last(d, "content") and is_text_of(d)),
    ),
    Rule(
        "an empty answer",
        "other providers refuse it: it is left out everywhere",
        lambda d, _: d.path == ("input",) and without_empty(d.recorded) == bare(d.ours),
    ),
    Rule(
        "an answer first",
        "other providers want the user's word first: a line stands there everywhere",
        lambda d, _: d.path == ("input",) and bare(d.recorded) == bare(d.ours[1:]),
    ),
    Rule(
        "cache marks",
        "they are no part of what a model sees",
        lambda d, _: last(d, "prompt_cache_breakpoint"),
    ),
]


def is_own_id(d: Difference) -> bool:
    """Whether a client took the item's id for the call's."""
    return last(d, "call_id") and str(d.recorded).startswith("fc_")


def is_text_of(d: Difference) -> bool:
    """Whether a recorded text is what our parts say."""
    return isinstance(d.ours, list) and d.recorded == "".join(part["text"] for part in d.ours)


def bare(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return items without what the rules above allow to differ."""
    plain = [
        {"role": item["role"], "content": item["content"][0]["text"]}
        if item.get("type") == "message"
        else item
        for item in items
    ]
    return [{key: item[key] for key in item if key not in _free(item)} for item in plain]


def _free(item: dict[str, Any]) -> tuple[str, ...]:
    # Of reasoning that can be read, one client sent no seal; we send what came.
    seal = ("encrypted_content",) if item.get("type") == "reasoning" and item.get("content") else ()
    return ("id", "status", "call_id", *seal)


def without_empty(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return bare items without empty answers."""
    return bare([item for item in items if item.get("content") != ""])


def is_in_log(exchange: Exchange) -> bool:
    """
    Whether a request is one that a log can end with.

    None holds instructions alone, or what only a conversation at the provider holds. A search for tools
    that the client answers is no call of ours, and tools that come later stand in the list of all tools.
    """
    given = exchange.body.get("input") or []
    items = [{"content": given}] if isinstance(given, str) else given
    is_searching = any(item.get("execution") == "client" for item in items)
    is_adding = any(item.get("type") == "additional_tools" for item in items)
    says_something = any(item.get("content", "x") for item in items)
    return says_something and not (is_searching or is_adding or "conversation" in exchange.body)


def has_ended(exchange: Exchange) -> bool:
    """Whether an answer came to its end: in the background it goes on behind it."""
    whole = [event.get("response") or event for event in exchange.events]
    return not whole or whole[-1].get("status") not in ("queued", "in_progress")


def comparable(body: Any) -> dict[str, Any]:
    """Return a body as the API reads it: a text is a message of the user's."""
    given = body.get("input", [])
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return {**body, "input": items}


def unexplained(found: list[Difference], exchange: Exchange) -> list[Difference]:
    """Return the differences that no rule explains."""
    return [d for d in found if not any(rule.applies(d, exchange) for rule in RULES)]


@pytest.mark.parametrize("path", files("openai-responses"))
def test_requests_are_the_recorded_ones(path: Path) -> None:
    """Each request, made anew from what was ingested before, is the recorded one but for the rules."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), ResponsesReader())
        for exchange in filter(is_in_log, exchanges(path, "openai-responses")):
            head, request, _ = replay.materialize(exchange)
            found = list(differences(comparable(exchange.body), comparable(request.body or {})))
            assert unexplained(found, exchange) == []
            if has_ended(exchange):
                replay.answer(exchange, head, request)


def sealed_in(items: list[dict[str, Any]]) -> Iterator[str]:
    """Yield every sealed text of output items, in order."""
    for item in items:
        if isinstance(item.get("encrypted_content"), str):
            yield item["encrypted_content"]


def sealed_of(exchange: Exchange) -> list[str]:
    """Return all that an answer seals, in order, as it stands where its items end."""
    whole = [item for event in exchange.events for item in event.get("output") or ()]
    ended = [event["item"] for event in exchange.events if event.get("type") == "response.output_item.done"]
    return list(sealed_in(whole or ended))


@pytest.mark.parametrize("path", files("openai-responses"))
def test_every_hidden_field_goes_back(path: Path) -> None:
    """The request after each answer has all that the answer sealed, byte for byte and in order."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), ResponsesReader())
        for exchange in filter(is_in_log, exchanges(path, "openai-responses")):
            head, request, _ = replay.materialize(exchange)
            answer = replay.answer(exchange, head, request) if has_ended(exchange) else None
            if answer is not None and sealed_of(exchange) and "previous_response_id" not in exchange.body:
                after, _ = replay.ask(exchange, replay.go_on(answer))
                sent = list(sealed_in(json.loads(after.content)["input"]))
                assert sent[-len(sealed_of(exchange)) :] == sealed_of(exchange)
