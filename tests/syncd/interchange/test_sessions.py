"""What agents' sessions hold beside questions and answers: rewound turns, pictures, sealed state."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import Conversation, Store
from syncd.interchange import Findings
from tests.syncd.interchange.reading import said, shape, take_in, written

PNG = b"\x89PNG\r\n\x1a\nnot quite a picture"
PNG64 = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{PNG64}"


@pytest.fixture
def findings() -> Findings:
    """Return what is to be found out."""
    return Findings()


def one(tmp_path: Path, findings: Findings, *lines: dict[str, Any]) -> Conversation:
    """Import JSON lines that are one session."""
    [found] = take_in(Store(":memory:"), written(tmp_path / "session.jsonl", lines), findings)
    assert not found.problems()
    return found


def sealed(conversation: Conversation) -> list[tuple[str, str, str, Any]]:
    """Return space, kind, the type of the part, and data of every hidden field of a log."""
    return [
        (field.space, field.kind, next((p.type for p in m.parts if p.id == field.at), ""), field.data)
        for m in conversation.log().messages
        for field in conversation.hidden(m.id)
    ]


# Codex


def codex(kind: str, **payload: Any) -> dict[str, Any]:
    """Return a line of a rollout."""
    outer = kind if kind in {"session_meta", "compacted", "turn_context"} else "response_item"
    line = {"timestamp": "2026-01-01T10:00:00Z", "type": outer, "payload": payload}
    return line if outer != "response_item" else line | {"payload": {"type": kind, **payload}}


def event(kind: str, **payload: Any) -> dict[str, Any]:
    """Return an event of a rollout."""
    return {"timestamp": "2026-01-01T10:00:00Z", "type": "event_msg", "payload": {"type": kind, **payload}}


def asks(text: str) -> dict[str, Any]:
    """Return a question to Codex."""
    return codex("message", role="user", content=[{"type": "input_text", "text": text}])


def answers(text: str) -> dict[str, Any]:
    """Return an answer of Codex."""
    return codex("message", role="assistant", content=[{"type": "output_text", "text": text}])


META = codex("session_meta", id="s1", timestamp="2026-01-01T10:00:00Z")


def test_codex_turns_that_were_rolled_back_are_a_branch(tmp_path: Path, findings: Findings) -> None:
    """What was said instead is main, and what was taken back is still there."""
    lines = (asks("Where?"), answers("To the sea."), asks("When?"), answers("Now."))
    trip = one(tmp_path, findings, META, *lines, event("thread_rolled_back", num_turns=1), asks("How?"))
    assert said(trip) == ["Where?", "To the sea.", "How?"]
    assert said(trip, "main-2") == ["Where?", "To the sea.", "When?", "Now."]


def test_codex_rolled_back_by_several_turns(tmp_path: Path, findings: Findings) -> None:
    """So many questions are taken back as it says, and those before stay."""
    lines = [line for name in "ABC" for line in (asks(name), answers(f"To {name}"))]
    trip = one(tmp_path, findings, META, *lines, event("thread_rolled_back", num_turns=2), asks("D"))
    assert said(trip) == ["A", "To A", "D"]


def test_codex_rolled_back_to_its_beginning(tmp_path: Path, findings: Findings) -> None:
    """More turns than there are: what comes begins anew."""
    lines = (asks("Where?"), answers("To the sea."), event("thread_rolled_back", num_turns=9))
    trip = one(tmp_path, findings, META, *lines, asks("How?"))
    assert said(trip) == ["How?"]
    assert said(trip, "main-2") == ["Where?", "To the sea."]


def test_codex_events_tell_what_no_item_does(tmp_path: Path, findings: Findings) -> None:
    """Reasoning of a turn that was broken off is there once; what items say is not said again."""
    thought = codex("reasoning", summary=[{"type": "summary_text", "text": "Hm"}], encrypted_content="gAAA")
    asked = (asks("Where?"), event("user_message", message="Where?"))
    told = (event("agent_reasoning", text="Hm"), event("agent_reasoning", text="Lost"))
    trip = one(tmp_path, findings, META, *asked, thought, *told, event("turn_aborted"))
    [question, answer] = trip.log().messages
    assert (question.text, [part.text for part in answer.parts]) == ("Where?", ["Hm", "Lost"])


def test_codex_events_in_other_words_are_not_said_twice(tmp_path: Path, findings: Findings) -> None:
    """Where there is an item for every event, the event is the same in the words of a terminal."""
    asked = (asks("Where? <cite/>"), event("user_message", message="Where?"))
    told = (answers("To the sea. <cite/>"), event("agent_message", message="To the sea."))
    assert said(one(tmp_path, findings, META, *asked, *told)) == ["Where? <cite/>", "To the sea. <cite/>"]


def test_codex_events_of_which_there_are_more_than_items(tmp_path: Path, findings: Findings) -> None:
    """A question and an answer that only events tell; what a program put in front stands for no question."""
    asked = (asks("<environment_context/>"), event("user_message", message="Where?"))
    told = (answers("To the sea."), event("agent_message", message="To the sea."))
    more = (event("agent_message", message="Or the hills."), event("turn_aborted"))
    trip = one(tmp_path, findings, META, *asked, *told, *more)
    assert said(trip) == ["<environment_context/>", "Where?", "To the sea.", "Or the hills."]


def test_codex_pictures_are_blobs(tmp_path: Path, findings: Findings) -> None:
    """In what a tool returns, and drawn by the model."""
    shown = [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": DATA_URL}]
    call = codex("function_call", name="view", arguments="{}", call_id="c1")
    result = codex("function_call_output", call_id="c1", output=shown)
    drawn = codex("image_generation_call", id="ig", status="completed", result=PNG64)
    trip = one(tmp_path, findings, META, asks("Look"), call, result, drawn)
    assert shape(trip)[1:] == [
        ("assistant", "tool_call"),
        ("tool", "tool_result", "media"),
        ("assistant", "media"),
    ]
    media = [part for m in trip.log().messages for part in m.parts if part.type == "media"]
    assert [trip.blob(str(part.content["sha256"])) for part in media] == [PNG, PNG]
    assert trip.log().messages[2].parts[0].content["content"] == "seen"
    assert not findings.unknown


def test_codex_sealed_compactions_are_kept(tmp_path: Path, findings: Findings) -> None:
    """A compaction that only OpenAI can read is sealed; it stands for nothing in others' logs."""
    item = {"type": "compaction", "encrypted_content": "gAAA=="}
    old = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where?"}]}
    lines = (asks("Where?"), codex("compacted", message="", replacement_history=[old, item]), asks("And?"))
    trip = one(tmp_path, findings, META, *lines)
    assert sealed(trip) == [("openai", "compaction", "opaque", json.dumps(item, separators=(",", ":")))]
    assert said(trip) == ["Where?", "And?"]
    assert not any(part.type == "summary" for m in trip.messages() for part in m.parts)


def test_codex_before_rollouts_were_lines(tmp_path: Path, findings: Findings) -> None:
    """The first Codex wrote one JSON object a session."""
    items = [asks("Where?")["payload"], answers("To the sea.")["payload"]]
    value = {"session": {"id": "s1", "timestamp": "2025-04-01T10:00:00Z", "instructions": ""}, "items": items}
    [trip] = take_in(Store(":memory:"), written(tmp_path / "rollout.json", value), findings)
    assert said(trip) == ["Where?", "To the sea."]


# Claude Code


def claude(uuid: str, parent: str | None, kind: str, content: Any, **rest: Any) -> dict[str, Any]:
    """Return a line of Claude Code's."""
    message = {"role": kind, "content": content}
    return {"type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": "s1", "message": message} | rest


def test_claude_code_what_was_said_meanwhile(tmp_path: Path, findings: Findings) -> None:
    """A question put while the model worked stands in an attachment alone, with its picture."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG64}}
    queued = {"type": "queued_command", "prompt": [picture, {"type": "text", "text": "And this?"}]}
    lines = (
        claude("q", None, "user", "Where?"),
        {"type": "attachment", "uuid": "x", "parentUuid": "q", "sessionId": "s1", "attachment": queued},
        {"type": "attachment", "uuid": "h", "parentUuid": "x", "attachment": {"type": "hook_success"}},
        claude("a", "h", "assistant", [{"type": "text", "text": "To the sea."}]),
    )
    trip = one(tmp_path, findings, *lines)
    assert said(trip) == ["Where?", "And this?", "To the sea."]
    assert trip.blob(str(trip.log().messages[1].parts[0].content["sha256"])) == PNG
    assert findings.left_out == {"attachment hook_success": 1}


def test_claude_code_as_it_streams(tmp_path: Path, findings: Findings) -> None:
    """Lines without parents stand on each other."""
    result = [{"type": "tool_result", "tool_use_id": "t1", "content": "done"}]
    use = [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}]
    spoken = [("user", "Where?"), ("assistant", use), ("user", result), ("assistant", "To the sea.")]
    lines: list[dict[str, Any]] = [{"type": "system", "subtype": "init", "session_id": "s1"}]
    lines += [
        {"type": kind, "session_id": "s1", "message": {"role": kind, "content": content}}
        for kind, content in spoken
    ]
    trip = one(tmp_path, findings, *lines)
    assert [role for role, *_ in shape(trip)] == ["user", "assistant", "tool", "assistant"]
    assert trip.branches == ["main"]


# Gemini CLI

GEMINI = (
    {"sessionId": "g1", "projectHash": "x", "startTime": "2026-04-29T21:39:22.319Z", "kind": "main"},
    {"id": "q", "type": "user", "content": [{"text": "Where?"}]},
    {"id": "a", "type": "gemini", "content": "", "model": "gemini-3-flash"},
    {"$set": {"summary": "Trip"}},
    {"id": "a", "type": "gemini", "content": "To the sea.", "model": "gemini-3-flash"},
    {"id": "q2", "type": "user", "content": [{"text": "When?"}]},
    {"id": "a2", "type": "gemini", "content": "Now."},
)


def test_gemini_cli_line_by_line(tmp_path: Path, findings: Findings) -> None:
    """A message that is there again is its later state; the title comes when it is known."""
    trip = one(tmp_path, findings, *GEMINI)
    assert (trip.title, said(trip)) == ("Trip", ["Where?", "To the sea.", "When?", "Now."])


def test_gemini_cli_rewound(tmp_path: Path, findings: Findings) -> None:
    """What was rewound is a branch, and what came instead is main."""
    lines = (*GEMINI, {"$rewindTo": "q2"}, {"id": "q3", "type": "user", "content": "How?"})
    trip = one(tmp_path, findings, *lines)
    assert said(trip) == ["Where?", "To the sea.", "How?"]
    assert said(trip, "main-2") == ["Where?", "To the sea.", "When?", "Now."]


CONTENTS = [
    {"role": "user", "parts": [{"text": "See"}, {"inlineData": {"mimeType": "image/png", "data": PNG64}}]},
    {"role": "model", "parts": [
        {"text": "Hm", "thought": True},
        {"functionCall": {"name": "ls", "args": {"p": "."}}, "thoughtSignature": "c2ln"}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "ls", "response": {"output": "a.txt"}}}]},
    {"role": "model", "parts": [{"text": "One file."}]},
]  # fmt: skip


@pytest.mark.parametrize("value", [CONTENTS, {"history": CONTENTS, "authType": "x"}], ids=["list", "object"])
def test_gemini_cli_checkpoints(tmp_path: Path, findings: Findings, value: Any) -> None:
    """Contents as the API has them: thoughts, calls with signatures, results, pictures."""
    [trip] = take_in(Store(":memory:"), written(tmp_path / "checkpoint-a.json", value), findings)
    assert shape(trip) == [
        ("user", "text", "media"),
        ("assistant", "reasoning", "tool_call"),
        ("tool", "tool_result"),
        ("assistant", "text"),
    ]
    assert sealed(trip) == [("gemini-api", "thought_signature", "tool_call", "c2ln")]
    assert trip.log().messages[2].parts[0].content["content"] == "a.txt"
    assert not findings.unknown


# pi


def pi(api: str, model: str, *blocks: dict[str, Any], **rest: Any) -> tuple[dict[str, Any], ...]:
    """Return a session of pi's with one answer."""
    answer = {"role": "assistant", "api": api, "model": model, "content": list(blocks)} | rest
    return ({"type": "session", "id": "s1", "cwd": "/"}, {"type": "message", "message": answer})


ITEM = json.dumps({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"})
SIGNED = {
    "Anthropic": ("anthropic-messages", "claude-opus-4-5", {"type": "thinking", "thinkingSignature": "c2ln"},
                  ("anthropic", "thinking", "reasoning", "c2ln")),
    "redacted": ("anthropic-messages", "claude-opus-4-5",
                 {"type": "thinking", "redacted": True, "thinkingSignature": "ZGF0YQ=="},
                 ("anthropic", "redacted_thinking", "opaque", "ZGF0YQ==")),
    "OpenAI": ("openai-responses", "gpt-5", {"type": "thinking", "thinkingSignature": ITEM},
               ("openai", "reasoning", "reasoning", ITEM)),
    "Google": ("google-generative-ai", "gemini-3-pro",
               {"type": "toolCall", "id": "t", "name": "ls", "arguments": {}, "thoughtSignature": "c2ln"},
               ("gemini-api", "thought_signature", "tool_call", "c2ln")),
}  # fmt: skip


@pytest.mark.parametrize(("api", "model", "block", "field"), SIGNED.values(), ids=SIGNED.keys())
def test_pi_signatures_keep_their_key_space(
    tmp_path: Path, findings: Findings, api: str, model: str, block: dict[str, Any], field: Any
) -> None:
    """What a provider sealed can go back to it: each API's in its own space, byte for byte."""
    assert sealed(one(tmp_path, findings, *pi(api, model, block))) == [field]


def test_pi_says_why_it_failed(tmp_path: Path, findings: Findings) -> None:
    """The error of an answer that failed is kept with it."""
    trip = one(tmp_path, findings, *pi("x", "m", stopReason="error", errorMessage="Overloaded"))
    assert sealed(trip) == [("pi", "error", "", '"Overloaded"')]
    assert trip.log().messages[0].status == "failed"


# Chat programs


def test_librechat_s_tree(tmp_path: Path, findings: Findings) -> None:
    """The recursive export stands under a key of its own; what its options say is kept."""
    answer = {"messageId": "a", "parentMessageId": "q", "text": "To the sea."}
    tree = [{"messageId": "q", "isCreatedByUser": True, "text": "Where?", "children": [answer]}]
    value = {"conversationId": "c1", "messagesTree": tree, "options": {"promptPrefix": "Be brief."}}
    [trip] = take_in(Store(":memory:"), written(tmp_path / "tree.json", value), findings)
    assert said(trip) == ["Where?", "To the sea."]
    [kept] = trip.hidden(trip.log().messages[0].id)
    assert json.loads(kept.data) == {"options": {"promptPrefix": "Be brief."}}


def test_claude_ai_names_a_file_once(tmp_path: Path, findings: Findings) -> None:
    """Two lists name the same file, and a text stands where blocks have none."""
    file = {"file_uuid": "f1", "file_name": "a.png", "file_kind": "image"}
    asked = {
        "uuid": "m1",
        "sender": "human",
        "text": "See",
        "content": [],
        "files": [file],
        "files_v2": [file],
    }
    value = {"uuid": "u1", "model": "claude-3", "summary": "A trip.", "chat_messages": [
        asked, {"uuid": "m2", "sender": "assistant", "text": "I do."}]}  # fmt: skip
    [trip] = take_in(Store(":memory:"), written(tmp_path / "claude.json", value), findings)
    assert shape(trip) == [("user", "media", "text"), ("assistant", "text")]
    assert trip.log().messages[1].model == "claude-3"
    assert sealed(trip) == [("claude-ai", "conversation", "", b'{"summary":"A trip."}')]


def test_claude_ai_voice_notes(tmp_path: Path, findings: Findings) -> None:
    """What was spoken is a text."""
    block = {"type": "voice_note", "transcript": "Where?", "title": "A note"}
    value = {
        "uuid": "u1",
        "chat_messages": [{"uuid": "m1", "sender": "human", "text": "", "content": [block]}],
    }
    [trip] = take_in(Store(":memory:"), written(tmp_path / "claude.json", value), findings)
    assert said(trip) == ["Where?"]
    assert not findings.unknown


def test_chatgpt_sees_a_screen(tmp_path: Path, findings: Findings) -> None:
    """A browser's page is a result with its title, address and picture."""
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_1", "size_bytes": 9}
    state = {"type": "browser_state", "title": "A", "url": "https://a.example"}
    content = {"content_type": "computer_output", "computer_id": "0", "screenshot": picture, "state": state}
    message = {"id": "r", "author": {"role": "tool", "name": "computer.do"}, "content": content}
    value = {"id": "c1", "mapping": {"r": {"parent": None, "message": message}}, "current_node": "r"}
    [trip] = take_in(Store(":memory:"), written(tmp_path / "one.json", value), findings)
    assert shape(trip) == [("tool", "tool_result", "media")]
    assert trip.log().messages[0].parts[0].content["content"] == "A\nhttps://a.example"
    assert not findings.unknown


def test_chatgpt_code_and_sources(tmp_path: Path, findings: Findings) -> None:
    """A page that was read keeps its address, and citations stay with the answer."""
    quote = {"content_type": "tether_quote", "url": "https://a.example", "title": "A", "text": "found"}
    messages = [
        {"id": "c", "author": {"role": "assistant"}, "recipient": "python",
         "content": {"content_type": "code", "language": "python", "text": "1 + 1"}},
        {"id": "r", "author": {"role": "tool", "name": "python"}, "content": quote},
        {"id": "a", "author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["Two."]},
         "metadata": {"content_references": [{"url": "https://a.example"}], "canvas": {"id": "k"}}},
    ]  # fmt: skip
    parents = [None, "c", "r"]
    mapping = {m["id"]: {"parent": p, "message": m} for m, p in zip(messages, parents, strict=True)}
    value = {"id": "c1", "mapping": mapping, "current_node": "a", "gizmo_id": "g-1"}
    [trip] = take_in(Store(":memory:"), written(tmp_path / "one.json", value), findings)
    assert shape(trip) == [("assistant", "tool_call"), ("tool", "tool_result"), ("assistant", "text")]
    kept = {kind: json.loads(data) for _, kind, _, data in sealed(trip)}
    assert kept == {
        "conversation": {"gizmo_id": "g-1"},
        "content": {"url": "https://a.example", "title": "A"},
        "content_references": [{"url": "https://a.example"}],
        "metadata": {"canvas": {"id": "k"}},
    }
    assert not findings.unknown
