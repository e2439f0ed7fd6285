"""Hidden fields that a stranger wrote into a document: whatever stands in them, a request is made."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from adapters import Anthropic, OpenAIChat
from adapters.exchange import Hidden
from crdt_conv import HiddenField, Message, MessageId, Part, Target

SEALED = ["thinking", "redacted_thinking", "citations", "tool_use", "container", "fallback", "odd"]
KINDS = [*SEALED, "reasoning", "reasoning_details", "extra_content"]
TEXTS = ["", "no json", "null", "1", "[]", "{}", '{"type": 1}', '{"text": 1}', "[" * 9999]
DATA: list[Any] = [*TEXTS, b"\xff", True, 1, {"a": [None]}]
PARTS = ["text", "reasoning", "tool_call", "opaque", "media"]
MAKES = [
    lambda: OpenAIChat("m", base_url="https://openrouter.ai/api/v1", api_key="k", account="a"),
    lambda: OpenAIChat("m", base_url="https://api.mistral.ai/v1", api_key="k", account="a"),
    lambda: Anthropic("claude-opus-4-1", api_key="k", account="a"),
]


def fields_of(adapter: OpenAIChat | Anthropic, kind: str, data: Any, binding: str) -> Sequence[HiddenField]:
    """Return a field on every part, and on the message, in every space that may go there."""
    place = adapter.place(Target(adapter.name))
    spaces = (place.space, f"{place.space}/Up", "none")
    return [
        HiddenField(place.provider, space, kind, data, binding, at, place.model, place.address)
        for space, at in itertools.product(spaces, (*PARTS, None))
    ]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("kind", KINDS)
def test_any_hidden_field_will_do(make: Callable[[], OpenAIChat | Anthropic], kind: str) -> None:
    """On every part, in the right key space: nothing breaks, and what comes of it is JSON."""
    parts = tuple(Part(part, part, {"text": "x", "kind": kind}) for part in PARTS)
    log = [
        Message(MessageId(str(at)), role, (), parts=parts, hidden_count=1)
        for at, role in enumerate(("user", "assistant", "user"))
    ]
    for data, binding in itertools.product(DATA, ("self", "server")):
        # A new one each time: an adapter remembers what it made of the same messages.
        adapter = make()
        fields = {str(message.id): fields_of(adapter, kind, data, binding) for message in log}
        hidden = Hidden(fields=fields.__getitem__)
        request, _ = adapter.materialize(log, Target(adapter.name), (), hidden)
        assert json.loads(request.content)
