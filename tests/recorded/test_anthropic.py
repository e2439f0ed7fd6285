"""The Messages API, as it was really spoken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.prefix import without_markers
from crdt_conv import Store
from tests.recorded.files import Exchange, exchanges, files
from tests.recorded.messages import MessagesReader
from tests.recorded.replay import MISSING, Difference, Replay, Rule, differences


def last(d: Difference, *keys: str) -> bool:
    """Whether a difference is at one of these keys."""
    return d.path[-1] in keys


RULES: list[Rule] = [
    Rule("stream", "we always stream", lambda d, _: d.path == ("stream",)),
    Rule(
        "no error",
        "the API's default",
        lambda d, _: last(d, "is_error") and d.recorded is False and d.ours == MISSING,
    ),
    Rule(
        "nothing said",
        "null and no key at all are the same",
        lambda d, _: d.recorded is None and d.ours == MISSING,
    ),
    Rule(
        "a lone text",
        "a result of one text block is that text",
        lambda d, _: last(d, "content") and d.recorded == [{"type": "text", "text": d.ours}],
    ),
    Rule(
        "citations",
        "the recording's client dropped them; the API wants its blocks back exactly",
        lambda d, _: last(d, "citations") and d.recorded == MISSING,
    ),
    Rule(
        "reasoning",
        "the recording's client dropped it, on purpose",
        lambda d, _: last(d, "content") and d.recorded == [b for b in d.ours if b["type"] != "thinking"],
    ),
    Rule(
        "Bedrock",
        "it has the model in the path",
        lambda d, exchange: d.path == ("model",) and exchange.provider == "bedrock" and d.recorded == MISSING,
    ),
]


def comparable(body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a body as the API reads it.

    It joins messages of one role (facts, 3.4), a text is a list of one block, and cache markers are no
    part of what a model sees.
    """
    joined: list[dict[str, Any]] = []
    for message in body["messages"]:
        content = blocks(message["content"])
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1]["content"] += content
        else:
            joined.append({**message, "content": content})
    system = {"system": blocks(body["system"])} if body.get("system") else {}
    whole: dict[str, Any] = without_markers({**body, **system, "messages": joined})
    return whole


def blocks(content: Any) -> list[Any]:
    """Return content as a list of blocks."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def unexplained(found: list[Difference], exchange: Exchange) -> list[Difference]:
    """Return the differences that no rule explains."""
    return [d for d in found if not any(rule.applies(d, exchange) for rule in RULES)]


@pytest.mark.parametrize("path", files("anthropic"))
def test_requests_are_the_recorded_ones(path: Path) -> None:
    """Each request, made anew from what was ingested before, is the recorded one but for the rules."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), MessagesReader())
        for exchange in exchanges(path):
            head, request, _ = replay.materialize(exchange)
            found = list(differences(comparable(exchange.body), comparable(request.body or {})))
            assert unexplained(found, exchange) == []
            replay.answer(exchange, head, request)


# What the API hides in an answer, by its key.
HIDDEN = frozenset({"signature", "data", "encrypted_content", "encrypted_index", "encrypted_stdout"})


def hidden_in(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every hidden text in a JSON value, with its key, in order."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from hidden_in(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from hidden_in(item, key)
    elif isinstance(value, str) and value and key in HIDDEN:
        yield key, value


def hidden_of(exchange: Exchange) -> list[tuple[str, str]]:
    """Return all that an answer hides, in order."""
    return [
        found
        for event in exchange.events
        for found in hidden_in([event.get(key) for key in ("content", "content_block", "delta")])
    ]


@pytest.mark.parametrize("path", files("anthropic"))
def test_every_hidden_field_goes_back(path: Path) -> None:
    """The request after each answer has all that the answer hid, byte for byte and in order."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), MessagesReader())
        for exchange in exchanges(path):
            head, request, _ = replay.materialize(exchange)
            answer = replay.answer(exchange, head, request)
            if answer is not None and hidden_of(exchange):
                after, _ = replay.ask(exchange, replay.go_on(answer))
                sent = json.loads(after.content)["messages"]
                said = [message for message in sent if message["role"] == "assistant"]
                assert list(hidden_in(said[-1])) == hidden_of(exchange)
