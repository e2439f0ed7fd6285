"""Chat messages and ShareGPT in the dialects that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import Conversation, Store
from syncd.interchange import Findings
from tests.syncd.interchange.reading import said, shape, take_in, written

ASK = {"role": "user", "content": "Where?"}
ANSWER = {"role": "assistant", "content": "To the sea."}
OTHER = {"role": "assistant", "content": "Nowhere."}
TOOL = {"type": "function", "function": {"name": "ls", "description": "List.", "parameters": {}}}


def one(tmp_path: Path, value: Any) -> Conversation:
    """Import a file with one conversation, of which everything is understood."""
    findings = Findings()
    [found] = take_in(Store(":memory:"), written(tmp_path / "chat.jsonl", (value,)), findings)
    assert not findings.unknown
    assert not findings.damaged
    return found


PAIRS = {
    "prompt and completion": {"prompt": "Where?", "completion": "To the sea."},
    "in messages": {"prompt": [ASK], "completion": [ANSWER]},
    "batch request": {"custom_id": "r", "body": {"model": "m", "messages": [ASK, ANSWER]}},
    "typed values": {"messages": [
        {"role": "user", "content": [{"type": "text", "value": "Where?"}]},
        {"role": "assistant", "content": [{"type": "text", "value": "To the sea."}]},
    ]},
    "Anthropic's": {"messages": [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": [{"type": "text", "text": "To the sea."}]},
    ]},
    "ShareGPT in Markdown": {"conversations": [
        {"from": "human", "markdown": "Where?"}, {"from": "gpt", "markdown": "To the sea."}
    ]},
}  # fmt: skip


@pytest.mark.parametrize("value", PAIRS.values(), ids=PAIRS.keys())
def test_a_question_and_its_answer(tmp_path: Path, value: Any) -> None:
    """However they are written down, they are two messages with their texts."""
    assert said(one(tmp_path, value)) == ["Where?", "To the sea."]


def test_a_line_of_a_batch_s_answers(tmp_path: Path) -> None:
    """It holds answers alone; several choices are branches, for there is no question."""
    body = {"id": "c", "model": "m", "choices": [{"message": ANSWER}, {"message": OTHER}]}
    found = one(tmp_path, {"id": "b", "custom_id": "r", "response": {"status_code": 200, "body": body}})
    assert [said(found, branch) for branch in found.branches] == [["To the sea."], ["Nowhere."]]
    assert not found.log().is_diverged


PREFERENCES = {
    "messages": {"chosen": [ASK, ANSWER], "rejected": [ASK, OTHER]},
    "prompt": {"prompt": "Where?", "chosen": "To the sea.", "rejected": "Nowhere."},
    "prompt, and again in front": {"prompt": [ASK], "chosen": [ASK, ANSWER], "rejected": [ASK, OTHER]},
    "named messages": {"chosen_messages": [ASK, ANSWER], "rejected_messages": [ASK, OTHER]},
    "ShareGPT": {"conversations": [{"from": "human", "value": "Where?"}],
                 "chosen": {"from": "gpt", "value": "To the sea."},
                 "rejected": {"from": "gpt", "value": "Nowhere."}},
}  # fmt: skip


@pytest.mark.parametrize("value", PREFERENCES.values(), ids=PREFERENCES.keys())
def test_a_rejected_answer_is_an_alternative(tmp_path: Path, value: Any) -> None:
    """The chosen one is the reply, the other stands beside it."""
    found = one(tmp_path, value)
    assert said(found) == ["Where?", "To the sea."]
    reply = found.log().messages[1]
    assert {other.text for other in found.alternatives(reply.id)} == {"To the sea.", "Nowhere."}


TOOLS = {
    "beside the messages": {"messages": [
        {"role": "assistant", "content": None, "tool_calls": [{"name": "ls", "arguments": {"p": 1}}]},
        {"role": "tool", "content": "done"},
    ], "tools": [TOOL]},
    "as text": {"messages": [
        {"role": "assistant", "content": [
            {"type": "tool_call", "value": json.dumps({"name": "ls", "arguments": {"p": 1}})}]},
        {"role": "tool", "content": [{"type": "text", "value": "done"}]},
    ], "tools": json.dumps([TOOL])},
    "Anthropic's": {"messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "ls", "input": {"p": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "done"}]},
    ], "tools": [{"name": "ls", "input_schema": {}}]},
    "ShareGPT": {"conversations": [
        {"from": "function_call", "value": json.dumps([{"name": "ls", "arguments": {"p": 1}}])},
        {"from": "observation", "value": "done"},
    ], "tools": json.dumps([TOOL])},
}  # fmt: skip


@pytest.mark.parametrize("value", TOOLS.values(), ids=TOOLS.keys())
def test_calls_and_their_results(tmp_path: Path, value: Any) -> None:
    """Definitions, a call with its arguments, and the result that answers it."""
    found = one(tmp_path, value)
    assert shape(found) == [("system", "tools"), ("assistant", "tool_call"), ("tool", "tool_result")]
    [_, call, result] = [message.parts[0].content for message in found.log().messages]
    assert (call["name"], json.loads(str(call["arguments"])), result["content"]) == ("ls", {"p": 1}, "done")
    assert call["call_id"] == result["call_id"] != ""


def test_what_should_be_a_text_and_is_none_is_kept(tmp_path: Path) -> None:
    """A content of a shape that nobody expects keeps its place and is named."""
    findings = Findings()
    odd = {"messages": [{"role": "user", "content": {"deep": "inside"}}]}
    [found] = take_in(Store(":memory:"), written(tmp_path / "odd.json", odd), findings)
    assert shape(found) == [("user", "opaque")]
    [kept] = found.hidden(found.log().messages[0].id)
    assert json.loads(kept.data) == {"deep": "inside"}
    assert findings.unknown == {"text that is none": 1}


def test_ids_that_are_counted_keep_conversations_apart(tmp_path: Path) -> None:
    """Two files that both begin to count at one are two conversations, and each grows with its file."""
    store = Store(":memory:")
    take_in(store, written(tmp_path / "a.json", {"id": "1", "messages": [ASK]}))
    take_in(store, written(tmp_path / "b.json", {"id": "1", "messages": [ANSWER]}))
    take_in(store, written(tmp_path / "a.json", {"id": "1", "messages": [ASK, ANSWER]}))
    assert sorted(len(store.open(info.id)) for info in store.list()) == [1, 2]


def test_what_else_stands_beside_the_messages_is_kept(tmp_path: Path) -> None:
    """A label, a source, a score: with the first message, as they were."""
    found = one(tmp_path, {"messages": [ASK, ANSWER], "label": False, "images": ["a.jpg"]})
    [kept] = found.hidden(found.log().messages[0].id)
    assert (kept.kind, json.loads(kept.data)) == ("conversation", {"label": False, "images": ["a.jpg"]})
