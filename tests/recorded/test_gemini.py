"""Gemini's generateContent, as it was really spoken."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.gemini.kinds import DUMMY
from crdt_conv import Store
from tests.recorded.files import Exchange, exchanges, files
from tests.recorded.gemini import GeminiReader, camel
from tests.recorded.replay import MISSING, Difference, Replay, Rule, differences


def last(d: Difference, *keys: str) -> bool:
    """Whether a difference is at one of these keys."""
    return d.path[-1] in keys


RULES: list[Rule] = [
    Rule(
        "role of the system",
        "a system instruction has none",
        lambda d, _: d.path == ("systemInstruction", "role") and d.ours == MISSING,
    ),
    Rule(
        "an empty answer",
        "it is left out",
        lambda d, _: (
            d.path == ("contents",) and [c for c in d.recorded if c["parts"] != [{"text": ""}]] == d.ours
        ),
    ),
    Rule(
        "thoughts",
        "the recording's client sent their summary back, which Gemini does not want",
        lambda d, _: last(d, "parts") and [part for part in d.recorded if not part.get("thought")] == d.ours,
    ),
    Rule(
        "ids of calls",
        "Gemini gave none, so each client makes one up, for call and response alike",
        lambda d, _: last(d, "id") and d.recorded.startswith("pyd_ai_") and d.ours.startswith("call_"),
    ),
]


def without_empty(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return contents that say something."""
    return [content for content in contents if content["parts"] != [{"text": ""}]]


def comparable(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body in one spelling, with the bytes of what is base64 in either alphabet."""
    whole: dict[str, Any] = _decoded(camel(json.loads(json.dumps(body))))
    return whole


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"data", "mimeType"}:
        return {**value, "data": decoded(value["data"])}
    signed = {key: decoded(value[key]) for key in ("thoughtSignature",) if key in value}
    return {**{key: _decoded(item) for key, item in value.items()}, **signed}


def decoded(text: str) -> Any:
    """Return what a base64 text of either alphabet holds, in hex."""
    if text == DUMMY:
        return text
    plain = text.replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4)).hex()


def unexplained(found: list[Difference], exchange: Exchange) -> list[Difference]:
    """Return the differences that no rule explains."""
    return [d for d in found if not any(rule.applies(d, exchange) for rule in RULES)]


@pytest.mark.parametrize("path", files("gemini"))
def test_requests_are_the_recorded_ones(path: Path) -> None:
    """Each request, made anew from what was ingested before, is the recorded one but for the rules."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), GeminiReader())
        for exchange in exchanges(path, "gemini"):
            head, request, _ = replay.materialize(exchange)
            found = list(differences(comparable(exchange.body), comparable(request.body or {})))
            assert unexplained(found, exchange) == []
            replay.answer(exchange, head, request)


def signed_in(contents: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what is signed, and with what, in order."""
    for content in contents:
        for part in (content or {}).get("parts") or ():
            if part.get("thoughtSignature") not in (None, DUMMY):
                yield (
                    next(key for key in part if key != "thoughtSignature"),
                    decoded(part["thoughtSignature"]),
                )


@pytest.mark.parametrize("path", files("gemini"))
def test_every_signature_goes_back(path: Path) -> None:
    """The request after each answer has every signature on its part, byte for byte and in order."""
    with Store(":memory:") as store:
        replay = Replay(store.create(), GeminiReader())
        for exchange in exchanges(path, "gemini"):
            head, request, _ = replay.materialize(exchange)
            answer = replay.answer(exchange, head, request)
            candidates = [
                event["candidates"][0].get("content") for event in exchange.events if event.get("candidates")
            ]
            signed = list(signed_in(candidates))
            if answer is not None and signed:
                after, _ = replay.ask(exchange, replay.go_on(answer))
                sent = list(signed_in(json.loads(after.content)["contents"]))
                assert sent[-len(signed) :] == signed
