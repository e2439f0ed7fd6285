"""Conversations that really moved between providers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.normalize.normalizer import INTERRUPTED
from crdt_conv import Store
from tests.recorded import test_anthropic, test_gemini, test_openai_chat, test_openai_responses
from tests.recorded.files import Exchange, exchanges, files
from tests.recorded.mixed import MixedReader, api_of
from tests.recorded.replay import MISSING, Difference, Replay, Rule, differences

RULES: list[Rule] = [
    Rule(
        "an older spelling",
        "tools in one object, their schemas under an older key",
        lambda d, _: d.path == ("tools",) and older(d.recorded) == d.ours,
    ),
    Rule(
        "ids of calls",
        "the recording's client named the function alone, as that model did; we name the call",
        lambda d, _: d.path[-1] == "id" and d.recorded == MISSING and str(d.ours).startswith("call_"),
    ),
    Rule(
        "a call of the client's own",
        "it put one behind the model's, without a word in between, and answered both together; in a log an "
        "answer ends what stands open before it, so that nothing sent earlier ever changes",
        lambda d, _: d.path in (("messages",), ("contents",)) and is_said_but_for_a_result(d),
    ),
]

COMPARABLE: Mapping[str, tuple[Callable[..., Any], Callable[..., list[Difference]]]] = {
    "anthropic": (test_anthropic.comparable, test_anthropic.unexplained),
    "gemini": (test_gemini.comparable, test_gemini.unexplained),
    "openai-chat": (dict, test_openai_chat.unexplained),
    "openai-responses": (test_openai_responses.comparable, test_openai_responses.unexplained),
}


def older(tools: Any) -> Any:
    """Return tools of an older spelling in the newer one."""
    if not isinstance(tools, dict):
        return tools
    declared = [
        {("parametersJsonSchema" if key == "parameters" else key): value for key, value in tool.items()}
        for tool in tools["functionDeclarations"]
    ]
    return [{"functionDeclarations": declared}]


def pieces(turns: list[dict[str, Any]]) -> list[Any]:
    """Return everything that is said, whoever says it together with what, but for results."""
    said = [piece for turn in turns for piece in turn.get("content") or turn["parts"]]
    return [piece for piece in said if piece.get("type") != "tool_result" and "functionResponse" not in piece]


def is_said_but_for_a_result(d: Difference) -> bool:
    """Whether one result alone is another, and everything else is there, in its order."""
    lost = json.dumps(d.ours).count(INTERRUPTED)
    return lost == 1 and pieces(d.recorded) == pieces(d.ours) and "auto_load_" in json.dumps(d.recorded)


def unexplained(exchange: Exchange, ours: Mapping[str, Any]) -> list[Difference]:
    """Return the differences that no rule explains, neither here nor for the API alone."""
    comparable, left = COMPARABLE[api_of(exchange)]
    found = left(list(differences(comparable(exchange.body), comparable(ours))), exchange)
    return [d for d in found if not any(rule.applies(d, exchange) for rule in RULES)]


@pytest.mark.parametrize("path", files("mixed"))
def test_requests_are_the_recorded_ones(path: Path) -> None:
    """Each provider gets what it got, made of what the others answered, but for the rules."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), MixedReader())
        for exchange in exchanges(path):
            head, request, _ = replay.materialize(exchange)
            assert unexplained(exchange, request.body or {}) == []
            replay.answer(exchange, head, request)


HIDDEN = frozenset({"signature", "data", "encrypted_content", "encrypted_index", "thoughtSignature"})


def hidden_in(value: Any, key: str = "") -> Iterator[str]:
    """Yield every hidden text in a JSON value."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from hidden_in(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from hidden_in(item, key)
    elif isinstance(value, str) and len(value) > 20 and key in HIDDEN:
        yield value


@pytest.mark.parametrize("path", files("mixed"))
def test_nobody_gets_what_another_hid(path: Path) -> None:
    """What one provider sealed stands in no request for another; it goes back to its own."""
    sealed: dict[str, set[str]] = {}
    with Store(":memory:") as store:
        replay = Replay(store.create(), MixedReader())
        for exchange in exchanges(path):
            head, request, _ = replay.materialize(exchange)
            others = {text for api, texts in sealed.items() if api != api_of(exchange) for text in texts}
            assert not [text for text in others if text in request.content.decode()]
            replay.answer(exchange, head, request)
            sealed.setdefault(api_of(exchange), set()).update(hidden_in(exchange.events))
