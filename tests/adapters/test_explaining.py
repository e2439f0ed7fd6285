"""What would be sent, and why: each message of which something is left out is named once."""

from __future__ import annotations

import pytest

from adapters.exchange import Note, Report
from adapters.explaining import explain
from crdt_conv import Conversation, Store, Target, new_part
from syncd.models import adapter_of

ADAPTERS = ("openai-chat", "openai-responses", "anthropic", "gemini", "ollama")


def odd_conversation() -> Conversation:
    """Return a conversation whose messages have more than one thing that can't be sent."""
    conversation = Store(":memory:").create()
    conversation.append("user", parts=[new_part("poll", question="?"), new_part("vote")])
    conversation.append("user", "hello")
    call = {"name": "look", "arguments": "{", "call_id": "c"}
    parts = [new_part("tool_call", **call), new_part("tool_call", **call), new_part("vote"), new_part("vote")]
    conversation.append("assistant", parts=parts)
    conversation.append("tool", parts=[new_part("vote"), new_part("vote")])
    conversation.append("user", "go on")
    return conversation


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_message_is_named_once(name: str) -> None:
    """In what is left out, and in what is changed, with every reason once."""
    target = Target(name, "m")
    shown = explain(adapter_of(target), odd_conversation(), target).as_json()
    for notes in (shown["left_out"], shown["repairs"]):
        named = [note["about"] for note in notes]
        assert len(set(named)) == len(named)
    assert shown["left_out"]


def test_reasons_stand_together() -> None:
    """In the order they were found; the same one is told once."""
    notes = (Note("a", "one"), Note("b", "two"), Note("a", "three"), Note("a", "one"))
    told = [{"about": "a", "reason": "one; three"}, {"about": "b", "reason": "two"}]
    shown = Report("m/1", 2, left_out=notes, repairs=notes).as_json()
    assert (shown["left_out"], shown["repairs"]) == (told, told)
