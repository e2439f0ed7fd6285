"""Each format, by small files whose shape is that of the real ones."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import Store
from syncd.interchange import Findings, ImportRefused
from tests.syncd.interchange.reading import said, shape, take_in, written

PIXEL = b"\x89PNG\r\n\x1a\nnot quite a picture"
PIXEL64 = base64.b64encode(PIXEL).decode()


@pytest.fixture
def store() -> Store:
    """Return an empty store."""
    return Store(":memory:")


def node(key: str, parent: str | None, role: str, *parts: Any, **rest: Any) -> dict[str, Any]:
    """Return a node of ChatGPT's mapping."""
    content = rest.pop("content", {"content_type": "text", "parts": list(parts)})
    message = {"id": key, "author": {"role": role}, "create_time": 1.7e9, "content": content}
    message |= {"status": "finished_successfully", "recipient": "all", "metadata": {}} | rest
    return {"id": key, "parent": parent, "message": message, "children": []}


def chatgpt(*nodes: dict[str, Any], current: str) -> dict[str, Any]:
    """Return a conversation of ChatGPT's."""
    root: dict[str, Any] = {"id": "root", "parent": None, "message": None, "children": []}
    mapping = {entry["id"]: entry for entry in (root, *nodes)}
    return {"conversation_id": "c1", "title": "Trip", "mapping": mapping, "current_node": current}


def test_chatgpt_keeps_its_tree(store: Store, tmp_path: Path) -> None:
    """The way to the current node is main; another answer stays beside, an edited question forks."""
    value = chatgpt(
        node("q", "root", "user", "Where?"),
        node("a1", "q", "assistant", "To the sea."),
        node("a2", "q", "assistant", "To the hills."),
        node("q2", "a2", "user", "When?"),
        node("q3", "a2", "user", "How?"),
        node("a3", "q3", "assistant", "By train."),
        current="a3",
    )
    [trip] = take_in(store, written(tmp_path / "conversations.json", [value]))
    assert (trip.title, trip.branches) == ("Trip", ["main", "main-2"])
    assert said(trip) == ["Where?", "To the hills.", "How?", "By train."]
    assert said(trip, "main-2") == ["Where?", "To the hills.", "When?"]
    chosen = trip.log().messages[1]
    assert [other.text for other in trip.alternatives(chosen.id)] != ["To the hills."]


def test_chatgpt_tools_reasoning_and_pictures(store: Store, tmp_path: Path) -> None:
    """A message to a tool is a call, the tool's its result; a picture keeps its place."""
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://f1", "size_bytes": 9}
    value = chatgpt(
        node("q", "root", "user", content={"content_type": "multimodal_text", "parts": ["See:", picture]}),
        node(
            "t",
            "q",
            "assistant",
            content={"content_type": "thoughts", "thoughts": [{"summary": "Hm", "content": "x"}]},
        ),
        node("c", "t", "assistant", '{"query": 1}', recipient="browser"),
        node("r", "c", "tool", "found"),
        node("odd", "r", "assistant", content={"content_type": "hologram", "data": 1}),
        current="odd",
    )
    findings = Findings()
    [trip] = take_in(store, written(tmp_path / "one.json", value), findings)
    assert shape(trip) == [
        ("user", "text", "media"),
        ("assistant", "reasoning"),
        ("assistant", "tool_call"),
        ("tool", "tool_result"),
        ("assistant", "opaque"),
    ]
    call, result = trip.log().messages[2].parts[0], trip.log().messages[3].parts[0]
    assert call.content["call_id"] == result.content["call_id"] != ""
    assert (call.content["name"], call.content["arguments"]) == ("browser", '{"query": 1}')
    assert findings.unknown == {"hologram": 1}
    [kept] = trip.hidden(trip.log().messages[4].id)
    assert json.loads(kept.data) == {"content_type": "hologram", "data": 1}


def test_a_zip_is_looked_into(store: Store, tmp_path: Path) -> None:
    """ChatGPT's zip holds conversations beside files that are none."""
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("user.json", "{}")
        archive.writestr(
            "conversations.json", json.dumps([chatgpt(node("q", "root", "user", "Hi"), current="q")])
        )
    [trip] = take_in(store, tmp_path / "export.zip")
    assert said(trip) == ["Hi"]


CLAUDE_AI = {
    "uuid": "u1",
    "name": "Trip",
    "created_at": "2025-01-01T10:00:00Z",
    "chat_messages": [
        {"uuid": "m1", "sender": "human", "text": "Where?", "created_at": "2025-01-01T10:00:00Z",
         "attachments": [{"file_name": "a.txt", "file_type": "txt", "extracted_content": "socks"}]},
        {"uuid": "m2", "sender": "assistant", "created_at": "2025-01-01T10:00:01Z", "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
            {"type": "tool_use", "id": "t1", "name": "search", "input": {"q": 1}},
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "found"}]},
            {"type": "text", "text": "To the sea."},
        ]},
    ],
}  # fmt: skip


def test_claude_ai(store: Store, tmp_path: Path) -> None:
    """Thinking keeps its signature, results stand between calls and what follows, a text file is a blob."""
    [trip] = take_in(store, written(tmp_path / "conversations.json", [CLAUDE_AI]))
    assert shape(trip) == [
        ("user", "media", "text"),
        ("assistant", "reasoning", "tool_call"),
        ("tool", "tool_result"),
        ("assistant", "text"),
    ]
    [question, answer, *_] = trip.log().messages
    assert trip.blob(question.parts[0].content["sha256"]) == b"socks"
    [sealed] = trip.hidden(answer.id)
    assert (sealed.space, sealed.data, sealed.at) == ("anthropic", "c2ln", answer.parts[0].id)


def line(uuid: str, parent: str | None, kind: str, content: Any, **rest: Any) -> dict[str, Any]:
    """Return a line of Claude Code's."""
    message = {"role": kind, "content": content} | rest.pop("message", {})
    common = {"sessionId": "s1", "isSidechain": False, "timestamp": "2025-01-01T10:00:00Z"}
    return {"type": kind, "uuid": uuid, "parentUuid": parent, "message": message} | common | rest


def use(number: int) -> dict[str, Any]:
    """Return a call of a tool."""
    return {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {"n": number}}


def result(number: int) -> dict[str, Any]:
    """Return the result of a call, with a picture."""
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL64}
    content = [{"type": "text", "text": f"done {number}"}, {"type": "image", "source": source}]
    return {"type": "tool_result", "tool_use_id": f"t{number}", "content": content}


def test_claude_code_joins_the_lines_of_a_message(store: Store, tmp_path: Path) -> None:
    """Blocks of one answer are one message, results of parallel calls another; hooks break no chain."""
    one = {"id": "msg_1", "model": "claude-opus-4-5"}
    lines = (
        {"type": "summary", "summary": "Trip", "leafUuid": "z"},
        line("q", None, "user", "Where?"),
        line(
            "b1", "q", "assistant", [{"type": "thinking", "thinking": "", "signature": "c2ln"}], message=one
        ),
        line("b2", "b1", "assistant", [use(1)], message=one),
        line("r1", "b2", "user", [result(1)]),
        line("b3", "b2", "assistant", [use(2)], message=one),
        line("r2", "b3", "user", [result(2)]),
        {"type": "attachment", "uuid": "hook", "parentUuid": "r2", "attachment": {}, "sessionId": "s1"},
        {"type": "hologram", "uuid": "odd", "parentUuid": "hook", "data": 1},
        line("a", "odd", "assistant", [{"type": "text", "text": "To the sea."}], message={"id": "msg_2"}),
    )
    findings = Findings()
    [trip] = take_in(store, written(tmp_path / "s1.jsonl", lines), findings)
    assert (trip.title, trip.branches) == ("Trip", ["main"])
    assert shape(trip) == [
        ("user", "text"),
        ("assistant", "reasoning", "tool_call", "tool_call"),
        ("tool", "tool_result", "media", "tool_result", "media", "opaque"),
        ("assistant", "text"),
    ]
    answer = trip.log().messages[1]
    assert [field.data for field in trip.hidden(answer.id)] == ["c2ln"]
    assert (answer.model, answer.parts[0].content) == ("claude-opus-4-5", {"text": ""})
    assert findings.unknown == {"type 'hologram'": 1, "line hologram": 1}


def item(kind: str, **payload: Any) -> dict[str, Any]:
    """Return an item of a Codex rollout."""
    return {"timestamp": "2025-01-01T10:00:00Z", "type": "response_item", "payload": {"type": kind} | payload}


def test_codex_groups_what_the_model_produced(store: Store, tmp_path: Path) -> None:
    """Reasoning and calls between two inputs are one message; sealed reasoning is kept as it was."""
    sealed = {"summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "gAAA="}
    lines = (
        {"type": "session_meta", "payload": {"id": "s1", "timestamp": "2025-01-01T10:00:00Z"}},
        {"type": "turn_context", "payload": {"model": "gpt-5-codex"}},
        {"type": "event_msg", "payload": {"type": "user_message", "message": "Where?"}},
        item("message", role="user", content=[{"type": "input_text", "text": "Where?"}]),
        item("reasoning", **sealed),
        item("function_call", name="shell", arguments='{"a": 1}', call_id="c1"),
        item("function_call_output", call_id="c1", output="done"),
        {"type": "event_msg", "payload": {"type": "agent_message", "message": "To the sea."}},
    )
    [trip] = take_in(store, written(tmp_path / "rollout.jsonl", lines))
    assert shape(trip) == [
        ("user", "text"),
        ("assistant", "reasoning", "tool_call"),
        ("tool", "tool_result"),
        ("assistant", "text"),
    ]
    answer = trip.log().messages[1]
    [field] = trip.hidden(answer.id)
    assert (answer.model, field.space) == ("gpt-5-codex", "openai")
    assert json.loads(field.data) == {"type": "reasoning"} | sealed


GEMINI = {
    "sessionId": "s1",
    "startTime": "2025-10-01T10:00:00Z",
    "messages": [
        {"id": "1", "type": "user", "content": "Where?", "timestamp": "2025-10-01T10:00:00Z"},
        {"id": "2", "type": "info", "content": "an update is there"},
        {"id": "3", "type": "gemini", "content": "To the sea.", "model": "gemini-2.5-pro",
         "thoughts": [{"subject": "Places", "description": "Hm"}],
         "tokens": {"input": 5, "output": 2, "thoughts": 1},
         "toolCalls": [{"id": "t1", "name": "ls", "args": {"p": "."}, "status": "error",
                        "result": [{"functionResponse": {"response": {"error": "no"}}}]}]},
    ],
}  # fmt: skip


def test_gemini_cli(store: Store, tmp_path: Path) -> None:
    """Thoughts come first, calls last, their results behind; what was only shown is left out."""
    findings = Findings()
    [trip] = take_in(store, written(tmp_path / "session.json", GEMINI), findings)
    assert shape(trip) == [
        ("user", "text"),
        ("assistant", "reasoning", "text", "tool_call"),
        ("tool", "tool_result"),
    ]
    assert trip.log().messages[2].parts[0].content == {"call_id": "t1", "content": "no", "is_error": True}
    assert trip.log().messages[1].usage == {"input_tokens": 5, "output_tokens": 2, "reasoning_tokens": 1}
    assert findings.left_out == {"info shown to the user": 1}


def test_pi(store: Store, tmp_path: Path) -> None:
    """A session in a row: results of tools, an aborted answer, a compaction as a summary."""
    call = {"type": "toolCall", "id": "t1", "name": "read", "arguments": {"path": "a"}}
    thought = {"type": "thinking", "thinking": "Hm", "thinkingSignature": "c2ln"}
    answer = {
        "role": "assistant",
        "content": [thought, call],
        "model": "claude-opus-4-5",
        "stopReason": "aborted",
    }
    text = [{"type": "text", "text": "done"}]
    lines = (
        {"type": "session", "id": "s1", "cwd": "/", "timestamp": "2025-12-01T10:00:00Z"},
        {"type": "message", "message": {"role": "user", "content": [{"type": "text", "text": "Where?"}]}},
        {"type": "model_change", "modelId": "x"},
        {"type": "message", "message": answer},
        {
            "type": "message",
            "message": {"role": "toolResult", "toolCallId": "t1", "content": text, "isError": False},
        },
        {"type": "compaction", "summary": "We looked."},
    )
    [trip] = take_in(store, written(tmp_path / "s1.jsonl", lines))
    assert shape(trip) == [
        ("user", "text"),
        ("assistant", "reasoning", "tool_call"),
        ("tool", "tool_result"),
        ("user", "summary"),
    ]
    assert trip.log().messages[1].status == "interrupted"
    assert [field.kind for field in trip.hidden(trip.log().messages[1].id)] == ["thinking"]


def test_librechat_nested_and_with_parents(store: Store, tmp_path: Path) -> None:
    """Messages may be nested or name their parents; the last branch is where the reader stood."""
    root = "00000000-0000-0000-0000-000000000000"
    flat: list[dict[str, Any]] = [
        {"messageId": "q", "parentMessageId": root, "isCreatedByUser": True, "text": "Where?"},
        {
            "messageId": "a",
            "parentMessageId": "q",
            "text": "To the sea.",
            "model": "gpt-4o",
            "unfinished": True,
        },
        {"messageId": "b", "parentMessageId": "q", "content": [{"type": "think", "think": "Hm"}]},
    ]
    value: dict[str, Any] = {"conversationId": "c1", "title": "Trip", "messages": flat}
    nested = value | {"messages": [{**flat[0], "children": flat[1:]}]}
    [trip] = take_in(store, written(tmp_path / "flat.json", value))
    assert shape(trip) == [("user", "text"), ("assistant", "reasoning")]
    assert len(trip.alternatives(trip.log().messages[1].id)) == 2
    [again] = take_in(Store(":memory:"), written(tmp_path / "nested.json", nested))
    assert [m.id for m in again.messages()] == [m.id for m in trip.messages()]


def test_openassistant_chooses_by_rank(store: Store, tmp_path: Path) -> None:
    """Every line is a tree; the lowest rank is the reply, the others are its alternatives."""
    replies = [
        {"message_id": "bad", "role": "assistant", "text": "Nowhere.", "rank": 1, "replies": []},
        {"message_id": "good", "role": "assistant", "text": "To the sea.", "rank": 0, "replies": []},
    ]
    tree = {
        "message_tree_id": "q",
        "prompt": {"message_id": "q", "role": "prompter", "text": "Where?", "replies": replies},
    }
    [trip, other] = take_in(store, written(tmp_path / "trees.jsonl", (tree, tree | {"message_tree_id": "r"})))
    assert said(trip) == ["Where?", "To the sea."]
    assert {m.text for m in trip.alternatives(trip.log().messages[1].id)} == {"To the sea.", "Nowhere."}
    assert (other.id != trip.id, trip.title) == (True, "Where?")


def test_sharegpt_and_chat_lines(store: Store, tmp_path: Path) -> None:
    """Both are known by their keys; without ids the content is the name, so twice is once."""
    share = {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "To the sea."}]}
    [one] = take_in(store, written(tmp_path / "share.json", share))
    [two] = take_in(store, written(tmp_path / "again.json", [share]))
    assert (one.id, said(one)) == (two.id, ["Where?", "To the sea."])
    call = {"id": "c1", "type": "function", "function": {"name": "ls", "arguments": "{}"}}
    chat = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL64}"}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
        ]
    }
    [first, second] = take_in(store, written(tmp_path / "chat.jsonl", (chat, chat | {"id": "x"})))
    assert [role for role, *_ in shape(first)] == ["system", "user", "assistant", "tool"]
    assert first.blob(first.log().messages[1].parts[0].content["sha256"]) == PIXEL
    assert first.id != second.id


REFUSED = {
    "nothing known": {"invalid": "This is no conversation"},
    "half a file": '[{"mapping": {',
    "no JSON": "Dear diary,",
    "a number": "5",
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_nothing_is_refused(store: Store, tmp_path: Path, value: Any) -> None:
    """A file that holds no conversation is an error that names it, and makes nothing."""
    with pytest.raises(ImportRefused, match=r"odd\.json"):
        take_in(store, written(tmp_path / "odd.json", value))
    assert store.list() == []


def test_half_a_surrogate_pair_is_replaced(store: Store, tmp_path: Path) -> None:
    """JSON can carry what no text can; the rest of the text stays."""
    chat = '{"messages": [{"role": "user", "content": "a\\ud83d b\\ud83d\\ude00"}]}'
    [trip] = take_in(store, written(tmp_path / "odd.json", chat))
    assert said(trip) == ["a\ufffd b😀"]


def test_circles_and_missing_parents_are_roots(store: Store, tmp_path: Path) -> None:
    """A parent that is not there, or that leads back, is let go, and everything said is there."""
    lines = (line("a", "b", "user", "one"), line("b", "a", "user", "two"), line("c", "gone", "user", "three"))
    findings = Findings()
    [trip] = take_in(store, written(tmp_path / "s1.jsonl", lines), findings)
    assert sorted(message.text for message in trip.messages()) == ["one", "three", "two"]
    assert not trip.problems()
