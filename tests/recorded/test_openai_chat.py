"""Chat Completions, as providers really spoke it: OpenAI, OpenRouter and compatible servers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.prefix import without_markers
from crdt_conv import Store
from tests.recorded.chat import ChatReader
from tests.recorded.files import Exchange, exchanges, files
from tests.recorded.replay import MISSING, Difference, Replay, Rule, differences

CACHE_MARKERS = ("cache_control", "prompt_cache_breakpoint")


def joined_systems(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with the system messages at their front as one, and no cache markers."""
    lead = list(itertools.takewhile(lambda message: message["role"] == "system", messages))
    texts = [
        part["text"]
        for message in lead
        for part in (
            [{"text": message["content"]}] if isinstance(message["content"], str) else message["content"]
        )
    ]
    return [{"role": "system", "content": "\n\n".join(texts)}, *without_markers(messages[len(lead) :])]


def last(d: Difference, *keys: str) -> bool:
    """Whether a difference is at one of these keys."""
    return d.path[-1] in keys


RULES: list[Rule] = [
    Rule(
        "stream",
        "we always stream, and ask for the usage",
        lambda d, _: d.path in (("stream",), ("stream_options",)),
    ),
    Rule(
        "one choice",
        "one is the default, and a message can be no more",
        lambda d, _: d.path == ("n",) and d.recorded in (1, None) and d.ours == MISSING,
    ),
    Rule(
        "nothing said",
        "null, an empty list, an empty text and no key at all are the same",
        lambda d, _: d.recorded in (None, [], "", MISSING) and d.ours in (None, MISSING),
    ),
    Rule(
        "a lone text",
        "a list of one text part is that text",
        lambda d, _: last(d, "content") and without_markers(d.recorded) == [{"type": "text", "text": d.ours}],
    ),
    Rule(
        "one system prompt",
        "system messages at the front are joined: many servers take one",
        lambda d, _: d.path == ("messages",) and joined_systems(d.recorded) == d.ours,
    ),
    Rule(
        "an id of our own",
        "the server gave its call none, so each client makes one up",
        lambda d, _: (
            last(d, "id", "tool_call_id")
            and str(d.recorded).startswith("pyd_ai_")
            and str(d.ours).startswith("call_")
        ),
    ),
    Rule(
        "Google's signature",
        "the recording's client dropped it; Google wants it back where it came from",
        lambda d, exchange: (
            last(d, "extra_content", "thought_signature")
            and exchange.provider == "google-openai"
            and d.recorded == MISSING
        ),
    ),
    Rule(
        "no prefix",
        "Mistral's default",
        lambda d, _: last(d, "prefix") and d.recorded is False and d.ours == MISSING,
    ),
    Rule(
        "place of a call",
        "Mistral's client counts calls, which are in order anyway",
        lambda d, _: last(d, "index") and d.path[-2] == d.recorded and d.ours == MISSING,
    ),
    Rule(
        "arguments",
        "some clients write them anew; we send the model's own bytes",
        lambda d, _: last(d, "arguments") and json.loads(d.recorded) == json.loads(d.ours),
    ),
    Rule(
        "cache markers",
        "a person's client puts them by hand; nothing in a log says where",
        lambda d, _: last(d, *CACHE_MARKERS) and d.ours == MISSING,
    ),
]


def unexplained(found: list[Difference], exchange: Exchange) -> list[Difference]:
    """Return the differences that no rule explains."""
    return [d for d in found if not any(rule.applies(d, exchange) for rule in RULES)]


@pytest.mark.parametrize("path", files("openai-chat", "openai-compatible", "openrouter"))
def test_requests_are_the_recorded_ones(path: Path) -> None:
    """Each request, made anew from what was ingested before, is the recorded one but for the rules."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), ChatReader())
        for exchange in exchanges(path):
            head, request, _ = replay.materialize(exchange)
            body = dict(request.body or {})
            assert unexplained(list(differences(exchange.body, body)), exchange) == []
            replay.answer(exchange, head, request)


# What providers hide in an answer, by its key.
HIDDEN = frozenset({"signature", "data", "thought_signature", "reasoning_content"})


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


def hidden_of(exchange: Exchange) -> dict[str, list[str]]:
    """Return what an answer hides by key; readable reasoning in one piece, however it was streamed."""
    found: dict[str, list[str]] = {}
    for event in exchange.events:
        for choice in event.get("choices") or ():
            for key, value in hidden_in(choice.get("message") or choice.get("delta")):
                found.setdefault(key, []).append(value)
    if "reasoning_content" in found:
        found["reasoning_content"] = ["".join(found["reasoning_content"])]
    return found


@pytest.mark.parametrize("path", files("openai-chat", "openai-compatible", "openrouter"))
def test_every_hidden_field_goes_back(path: Path) -> None:
    """The request after each answer has all that the answer hid, byte for byte, on the same message."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), ChatReader())
        for exchange in exchanges(path):
            head, request, _ = replay.materialize(exchange)
            answer = replay.answer(exchange, head, request)
            if answer is not None:
                after, _ = replay.ask(exchange, replay.go_on(answer))
                sent = json.loads(after.content)["messages"]
                said = [message for message in sent if message["role"] == "assistant"]
                back: dict[str, list[str]] = {}
                for key, value in hidden_in(said[-1]):
                    back.setdefault(key, []).append(value)
                assert {key: back.get(key) for key in hidden_of(exchange)} == hidden_of(exchange)
