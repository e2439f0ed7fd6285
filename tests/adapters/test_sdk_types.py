"""Official SDKs as judges: requests are of their types, and have no key that they don't know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from hypothesis import given
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter, ValidationError

from adapters.exchange import Adapter
from crdt_conv import Message
from tests.adapters.test_strict import LOGS, chat, claude, made

OPENAI: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsStreaming)
ANTHROPIC: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsStreaming)
THINKING = {"type": "enabled", "budget_tokens": 2000}

JUDGED: list[tuple[Adapter, TypeAdapter[Any], Mapping[str, Any]]] = [
    (chat("openai"), OPENAI, {"temperature": 0.5, "reasoning_effort": "low", "max_tokens": 9}),
    (claude("claude-opus-4-1"), ANTHROPIC, {"thinking": THINKING}),
    (claude("claude-opus-4-8"), ANTHROPIC, {"stop_sequences": ["x"]}),
]


def read(judge: TypeAdapter[Any], body: Any) -> Any:
    """Return a body as a type reads it: what the type does not know is gone."""
    return _plain(judge.validate_python(body))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    # Iterables are checked only while they are read.
    return [_plain(item) for item in value]


@pytest.mark.parametrize(("adapter", "judge", "params"), JUDGED)
@given(entries=LOGS)
def test_requests_are_of_the_official_types(
    adapter: Adapter, judge: TypeAdapter[Any], params: Mapping[str, Any], entries: Sequence[Message]
) -> None:
    """Whatever the log, the SDK reads the request without an error, and nothing of it is lost."""
    found = made(entries, adapter, params)
    if found is not None:
        body = json.loads(found[0].content)
        assert read(judge, body) == body


@pytest.mark.parametrize(
    ("judge", "change"), [(OPENAI, {"messages": [{"role": "me"}]}), (ANTHROPIC, {"max_tokens": "x"})]
)
def test_the_judges_can_refuse(judge: TypeAdapter[Any], change: dict[str, Any]) -> None:
    """The check above can fail, on a wrong value and on an unknown key."""
    message = {"role": "user", "content": "x"}
    body = {"model": "m", "max_tokens": 9, "messages": [message], "stream": True}
    assert read(judge, {**body, "unknown": 1}) == body
    with pytest.raises(ValidationError):
        read(judge, {**body, **change})
