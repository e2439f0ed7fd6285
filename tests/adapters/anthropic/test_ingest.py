"""From the events of the Messages API to parts: what the recordings and the strict server do not send."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from adapters import Anthropic, StreamBroken
from adapters.anthropic.cache import with_points
from adapters.anthropic.models import binds_prefix, takes_system_anywhere
from adapters.exchange import Finished, Hidden, Request
from adapters.writing import write_answer
from crdt_conv import Conversation, Message, Store, Target

REQUEST = Request("/v1/messages", {"model": "claude-opus-4-1", "messages": []}, prefix="ab")
ADAPTER = Anthropic("claude-opus-4-1", api_key="k", account="a")
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    """Return a conversation with a question."""
    with Store(":memory:") as store:
        asked = store.create()
        asked.append("user", "Where?")
        yield asked


def block(index: int, shell: Mapping[str, Any], *deltas: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the events of one block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": shell},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def answer(conversation: Conversation, *events: Mapping[str, Any], request: Request = REQUEST) -> Message:
    """Return the message that events make."""
    ingest = ADAPTER.ingest(request)
    operations = [operation for event in events for operation in ingest.feed(event)]
    return write_answer(conversation, [*operations, *ingest.end()], conversation.stream)


def sent_back(conversation: Conversation, *events: Mapping[str, Any], now_ms: int = 0) -> dict[str, Any]:
    """Return the request after an answer."""
    answer(conversation, *events)
    conversation.append("user", "Go on.")
    log = conversation.log().messages
    hidden = Hidden.of(conversation, now_ms=now_ms)
    request, _ = ADAPTER.materialize(log, Target("anthropic"), (), hidden)
    body: dict[str, Any] = json.loads(request.content)
    return body


SEARCH = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"encrypted_content": "E"}]}
CITED = {"type": "web_search_result_location", "url": "u", "encrypted_index": "I"}


def test_every_block_comes_back_in_its_place(conversation: Conversation) -> None:
    """Streamed in pieces: sealed thought, a search with its result, cited text, and what nobody knows."""
    events = [
        *block(0, {"type": "redacted_thinking", "data": "sealed"}),
        *block(1, {"type": "thinking", "thinking": ""}, {"type": "signature_delta", "signature": "S"}),
        *block(2, SEARCH, {"type": "input_json_delta", "partial_json": '{"query":'},
               {"type": "input_json_delta", "partial_json": ' "x"}'}),
        *block(3, FOUND),
        *block(4, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Rome"},
               {"type": "citations_delta", "citation": CITED}),
        *block(5, {"type": "hologram", "light": 1}),
        END,
    ]  # fmt: skip
    assert sent_back(conversation, *events)["messages"][1]["content"] == [
        {"type": "redacted_thinking", "data": "sealed"},
        {"type": "thinking", "thinking": "", "signature": "S"},
        {**SEARCH, "input": {"query": "x"}},
        FOUND,
        {"type": "text", "text": "Rome", "citations": [CITED]},
        {"type": "hologram", "light": 1},
    ]


def test_people_see_what_it_rests_on(conversation: Conversation) -> None:
    """Citations stand beside the text, without what is sealed in them."""
    events = block(0, {"type": "text", "text": "a"}, {"type": "citations_delta", "citation": CITED})
    [part] = answer(conversation, *events, END).parts
    assert part.content["citations"] == [{"type": "web_search_result_location", "url": "u"}]


@pytest.mark.parametrize(("now_ms", "expected"), [(0, "c1"), (2_000_000_000_000, None)])
def test_a_container_goes_along_until_it_expires(
    conversation: Conversation, now_ms: int, expected: str | None
) -> None:
    """Its name is of server-held state, and holds for an hour or so."""
    container = {"id": "c1", "expires_at": "2026-11-25T04:00:00Z"}
    events = [
        *block(0, {"type": "text", "text": "a"}),
        {**END, "delta": {"stop_reason": "end_turn", "container": container}},
    ]
    assert sent_back(conversation, *events, now_ms=now_ms).get("container") == expected


def test_behind_a_fallback_the_first_model_is_silent(conversation: Conversation) -> None:
    """Its reasoning and calls are not sent, its text is, and the mark stays where it was."""
    events = [
        *block(0, {"type": "thinking", "thinking": "hm"}, {"type": "signature_delta", "signature": "S"}),
        *block(1, {"type": "text", "text": "a"}),
        *block(2, {"type": "fallback", "from": "x", "to": "y"}),
        *block(3, {"type": "text", "text": "b"}),
        END,
    ]
    content = sent_back(conversation, *events)["messages"][1]["content"]
    assert [part["type"] for part in content] == ["text", "fallback", "text"]


def test_an_answer_without_an_end_broke_off() -> None:
    """Half a message is no whole one, however politely the stream ends."""
    ingest = ADAPTER.ingest(REQUEST)
    for event in block(0, {"type": "text", "text": "a"}):
        ingest.feed(event)
    with pytest.raises(StreamBroken):
        ingest.end()


def test_a_refusal_says_of_what_kind(conversation: Conversation) -> None:
    """The reason is one of ours; the provider's category is kept beside the counts."""
    event = {**END, "delta": {"stop_reason": "refusal", "stop_details": {"category": "bio"}}}
    message = answer(conversation, *block(0, {"type": "text", "text": "No."}), event)
    assert (message.stop_reason, (message.usage or {})["raw_stop_reason"]) == ("refusal", "refusal:bio")


@pytest.mark.parametrize(
    ("model", "binds", "anywhere"),
    [
        ("claude-3-7-sonnet-20250219", False, False),
        ("claude-opus-4-1-20250805", False, False),
        ("us.anthropic.claude-opus-4-8", False, True),
        ("claude-opus-5-20260801", False, True),
        ("claude-sonnet-5.5", True, True),
        ("claude-fable-5-2", True, True),
        ("claude-mythos-5-1", False, True),
        ("claude-haiku-6", True, True),
        ("claude-novel-1", True, False),
        ("smollm2", False, False),
    ],
)
def test_models_differ(model: str, binds: object, anywhere: object) -> None:
    """Which bind reasoning to the exact request, and which take system messages behind a user's."""
    assert (binds_prefix(model), takes_system_anywhere(model)) == (binds, anywhere)


@pytest.mark.parametrize(("taken", "expected"), [(0, 3), (2, 2), (3, 1), (4, 0)])
def test_no_more_than_four_cache_points(taken: int, expected: int) -> None:
    """Points that somebody put on tools count, and ours give way."""
    mark = {"cache_control": {"type": "ephemeral"}}
    text = [{"type": "text", "text": "x"}]
    roles = ["user", "assistant", "user"]
    body = {
        "tools": [{"name": f"t{n}", **mark} for n in range(taken)],
        "system": text,
        "messages": [{"role": role, "content": text} for role in roles],
    }
    marked, put = with_points(body, 3)
    assert (put, json.dumps(marked).count("cache_control")) == (expected, taken + expected)


def tool(kind: str, name: str, number: int, **given: Any) -> list[dict[str, Any]]:
    """Return a tool of the provider's that was used, and what came of it."""
    used = {"type": "server_tool_use", "id": f"s{number}", "name": name, "input": {}}
    return [used, {"type": f"{kind}_tool_result", "tool_use_id": f"s{number}", **given}]


SEALED_OUTPUT = {"type": "encrypted_code_execution_result", "encrypted_stdout": "X", "return_code": 0}
TEXT = {"type": "text", "text": "a"}
CONTENTS: dict[str, list[dict[str, Any]]] = {
    "a page": [*tool("web_fetch", "web_fetch", 1, content={"type": "web_fetch_result", "url": "u"}), TEXT],
    "a search that failed": [
        *tool("web_search", "web_search", 1,
              content={"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}),
        TEXT,
    ],
    "sealed output of code": [*tool("code_execution", "code_execution", 1, content=SEALED_OUTPUT), TEXT],
    "a shell": [*tool("bash_code_execution", "bash_code_execution", 1, content={"stdout": "a"}), TEXT],
    "a search for tools": [*tool("tool_search", "tool_search_tool_bm25", 1, content={"x": 1}), TEXT],
    "MCP": [
        {"type": "mcp_tool_use", "id": "m1", "name": "t", "server_name": "s", "input": {"a": 1}},
        {"type": "mcp_tool_result", "tool_use_id": "m1", "is_error": False, "content": [TEXT]},
        TEXT,
    ],
    "an advisor": [*tool("advisor", "advisor", 1, content={"encrypted_content": "E"}), TEXT],
    "a file": [{"type": "container_upload", "file_id": "f1"}, TEXT],
    "compaction": [{"type": "compaction", "content": "so far", "encrypted_content": "E"}, TEXT],
    "a compaction that failed": [{"type": "compaction", "content": None}, TEXT],
    "white space beside text": [{"type": "text", "text": " "}, TEXT],
    "reasoning between texts": [
        {"type": "thinking", "thinking": "hm", "signature": "S"},
        TEXT,
        {"type": "redacted_thinking", "data": "D"},
        {"type": "thinking", "thinking": "", "signature": "T"},
        {"type": "text", "text": "b"},
    ],
    "something that nobody knows": [{"type": "hologram", "text": "t", "light": {"red": 1}}, TEXT],
}  # fmt: skip


def streamed(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of blocks, as the API sends them: texts, inputs and seals in pieces."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": {}}}, {"type": "ping"}]
    for index, whole in enumerate(content):
        shell, deltas = dict(whole), []
        for key, kind in (("text", "text"), ("thinking", "thinking"), ("signature", "signature")):
            if isinstance(shell.get(key), str):
                pieces = [shell[key]] if key == "signature" else ["", *shell[key]]
                deltas += [{"type": f"{kind}_delta", key: piece} for piece in pieces]
                shell[key] = ""
        if shell["type"].endswith("tool_use"):
            deltas += [
                {"type": "input_json_delta", "partial_json": p} for p in json.dumps(shell.pop("input"))
            ]
            shell["input"] = {}
        if shell["type"] == "compaction":
            deltas = [{**shell, "type": "compaction_delta"}]
            shell = {"type": "compaction", "content": None}
        events += block(index, shell, *deltas)
    return [*events, END]


def whole(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the one event of a message that was not streamed."""
    return [{"type": "message", "content": content, "stop_reason": "end_turn", "usage": {}}]


def unended(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of a server that does not say where blocks end."""
    return [event for event in streamed(content) if event["type"] != "content_block_stop"]


def twice(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events with every end said twice."""
    ends = {"content_block_stop", "message_delta"}
    return [twin for event in streamed(content) for twin in [event] * (1 + (event["type"] in ends))]


@pytest.mark.parametrize("sent", [streamed, whole, unended, twice])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_an_answer_goes_back_as_it_came(
    conversation: Conversation, content: list[dict[str, Any]], sent: Any
) -> None:
    """Block for block and key for key, however it was sent."""
    assert sent_back(conversation, *sent(content))["messages"][1]["content"] == content


def test_reasoning_without_a_signature_is_not_sent(conversation: Conversation) -> None:
    """An empty one is none: the API refuses both."""
    events = streamed([{"type": "thinking", "thinking": "hm", "signature": ""}, TEXT])
    assert sent_back(conversation, *events)["messages"][1]["content"] == [TEXT]


def test_an_answer_that_begins_anew_in_its_middle_is_none() -> None:
    """Some proxies ask again when the provider breaks: half of one and all of another are no answer."""
    ingest = ADAPTER.ingest(REQUEST)
    for event in streamed([TEXT])[:3]:
        ingest.feed(event)
    with pytest.raises(StreamBroken):
        ingest.feed({"type": "message_start", "message": {}})


def test_system_messages_in_a_row_are_one(conversation: Conversation) -> None:
    """Behind a user's message the newer models take one; two would be refused."""
    for text in ("Be brief.", "Be kind."):
        conversation.append("system", text)
    log, hidden = conversation.log().messages, Hidden.of(conversation, now_ms=0)
    request, _ = ADAPTER.materialize(log, Target("anthropic", "claude-opus-5"), (), hidden)
    texts = [{"type": "text", "text": text} for text in ("Be brief.", "Be kind.")]
    assert json.loads(request.content)["messages"][1:] == [
        {"role": "system", "content": [texts[0], {**texts[1], "cache_control": {"type": "ephemeral"}}]}
    ]


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, [None]])
@pytest.mark.parametrize("key", ["index", "content_block", "delta", "usage", "message", "type"])
def test_nonsense_breaks_nothing(key: str, value: object) -> None:
    """A server may send anything: what can't be read is passed over."""
    ingest = ADAPTER.ingest(REQUEST)
    for event in [{"type": "message_start"}, *block(0, {"type": "text", "text": "a"}), END]:
        ingest.feed({**event, key: value})
    ingest.feed(END)
    assert isinstance(ingest.end()[-1], Finished)
