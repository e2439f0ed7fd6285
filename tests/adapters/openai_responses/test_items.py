"""Output items in every shape that the API has for them, streamed and whole: what goes back, and where."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from adapters import OpenAIResponses
from adapters.exchange import Hidden, Report, Tool
from adapters.exchange.tools import tools_part
from adapters.writing import write_answer
from crdt_conv import Conversation, Message, Store, Target, new_part

ADAPTER = OpenAIResponses("gpt-5.6", api_key="key")
TARGET = Target("openai-responses", params={"store": False})
SQL = Tool("sql", native={"openai-responses": {"type": "custom", "name": "sql"}})

Item = dict[str, Any]


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    """Return a conversation with a question, and a tool that takes plain text."""
    with Store(":memory:") as store:
        asked = store.create()
        asked.append("system", parts=[tools_part([SQL])])
        asked.append("user", "Where?")
        yield asked


def message(*content: Item, number: int = 1) -> Item:
    """Return a message item."""
    whole = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
    return {**whole, "content": list(content)}


def text(said: str, **more: Any) -> Item:
    """Return a content of text."""
    return {"type": "output_text", "text": said, "annotations": [], **more}


THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA="}
PAINTED = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "iVBO"}
SEARCHED = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "u"}]},
}

ANSWERS: dict[str, list[Item]] = {
    "an empty text behind reasoning": [THOUGHT, message(text(""))],
    "no content at all behind reasoning": [THOUGHT, message()],
    "an empty text behind a picture": [THOUGHT, PAINTED, message(text(""))],
    "an empty text among others": [message(text("a"), text(""), text("b"))],
    "an empty text first": [message(text(""), text("b"))],
    "two messages": [message(text("a"), text("b")), message(text("c"), number=2)],
    "content that nobody knows": [message({"type": "hologram", "light": 1}, text("a"))],
    "logprobs": [message(text("a", logprobs=[{"token": "a", "logprob": -0.5}]))],
    "a refusal": [message({"type": "refusal", "refusal": "No."})],
    "a refusal behind a text": [message(text("Hm."), {"type": "refusal", "refusal": "No."})],
    "a phase": [{**message(text("a")), "phase": "commentary"}, message(text("b"), number=2)],
    "annotations": [message(text("a", annotations=[{"type": "url_citation", "url": "u"}]))],
    "a search": [THOUGHT, SEARCHED, message(text("a"))],
    "files": [
        {"type": "file_search_call", "id": "fs_1", "queries": ["q"], "results": [{"file_id": "f"}]},
        message(text("a", annotations=[{"type": "file_citation", "file_id": "f", "index": 0}])),
    ],
    "code": [
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "code": "1",
         "outputs": [{"type": "logs", "logs": "1"}, {"type": "image", "url": "data:,"}]},
        message(text("a")),
    ],
    "MCP": [
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": [{"name": "t"}]},
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "t", "arguments": "{}"},
        {"type": "mcp_call", "id": "mcp_1", "name": "t", "arguments": "{}", "output": "o", "error": None},
        message(text("a")),
    ],
    "a shell in a container": [
        {"type": "shell_call", "id": "sh_1", "call_id": "c1", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "id": "sho_1", "call_id": "c1", "output": [{"stdout": "a"}]},
        message(text("a")),
    ],
    "a search for tools": [
        {"type": "tool_search_call", "id": "ts_1", "call_id": None, "arguments": {"paths": ["a"]}},
        {"type": "tool_search_output", "id": "to_1", "call_id": None, "tools": []},
        message(text("a")),
    ],
    "a program": [
        {"type": "program", "id": "pg_1", "call_id": "c1", "code": "x", "fingerprint": "F"},
        {"type": "program_output", "id": "po_1", "call_id": "c1", "result": "y"},
        message(text("a")),
    ],
    "compaction": [{"type": "compaction", "id": "cmp_1", "encrypted_content": "gC=="}, message(text("a"))],
    "readable reasoning": [
        {**THOUGHT, "summary": [{"type": "summary_text", "text": "s"}],
         "content": [{"type": "reasoning_text", "text": "r"}]},
        message(text("a")),
    ],
    "a custom tool that ran at the provider": [
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "x_search", "input": "q"},
        message(text("a")),
    ],
    "something that nobody knows": [{"type": "hologram", "id": "h_1", "light": 1}, message(text("a"))],
}  # fmt: skip


def streamed(items: Sequence[Item]) -> Iterator[Item]:
    """Yield the events of items, with their texts a character at a time."""
    yield {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
    for index, item in enumerate(items):
        at = {"output_index": index, "item_id": item.get("id")}
        yield {"type": "response.output_item.added", **at, "item": begun(item)}
        for kind, more, deltas in pieces(item):
            yield from ({"type": f"response.{kind}.delta", **at, **more, "delta": delta} for delta in deltas)
        yield {"type": "response.output_item.done", **at, "item": item}
    whole = {"id": "resp_1", "status": "completed", "output": [twin(item) for item in items]}
    yield {"type": "response.completed", "response": whole}


def begun(item: Item) -> Item:
    """Return an item as it is at its beginning: half a seal, no content."""
    empty = {"content": [], "encrypted_content": "half", "arguments": "", "input": "", "summary": []}
    return {key: empty.get(key, value) for key, value in item.items()}


def twin(item: Item) -> Item:
    """Return an item as the whole response repeats it: in another ciphertext."""
    return {**item, "encrypted_content": "another"} if "encrypted_content" in item else item


def pieces(item: Item) -> Iterator[tuple[str, Item, str]]:
    """Yield what of an item is streamed: the kind of its events, their further keys, and the text."""
    for index, content in enumerate(item.get("content") or ()):
        kinds = {"output_text": ("output_text", "text"), "refusal": ("refusal", "refusal")}
        if content["type"] in kinds:
            kind, key = kinds[content["type"]]
            yield kind, {"content_index": index}, content[key]
    for key, kind in (("arguments", "function_call_arguments"), ("input", "custom_tool_call_input")):
        if item["type"] in ("function_call", "custom_tool_call") and key in item:
            yield kind, {}, item[key]


def whole(items: Sequence[Item]) -> Iterator[Item]:
    """Yield the one event of an answer that was not streamed."""
    yield {"object": "response", "id": "resp_1", "status": "completed", "output": list(items)}


def at_the_end(items: Sequence[Item]) -> Iterator[Item]:
    """Yield the events of a server that names its items in the whole response alone."""
    yield {"type": "response.completed", "response": {"status": "completed", "output": list(items)}}


def twice(items: Sequence[Item]) -> Iterator[Item]:
    """Yield every event of the end of an item twice, the second in another ciphertext."""
    for event in streamed(items):
        yield event
        if event["type"] == "response.output_item.done":
            yield {**event, "item": twin(event["item"])}


def uncounted(items: Sequence[Item]) -> Iterator[Item]:
    """Yield events that name their item by its id alone."""
    for event in streamed(items):
        yield {key: value for key, value in event.items() if key != "output_index"}


def ask(conversation: Conversation) -> tuple[Mapping[str, Any], Report]:
    """Return the next request, and its report."""
    request, report = ADAPTER.materialize(
        conversation.log().messages, TARGET, (), Hidden.of(conversation, now_ms=0)
    )
    return json.loads(request.content), report


def answer(conversation: Conversation, events: Iterator[Item]) -> Message:
    """Write an answer."""
    request, _ = ADAPTER.materialize(
        conversation.log().messages, TARGET, (), Hidden.of(conversation, now_ms=0)
    )
    ingest = ADAPTER.ingest(request)
    operations = [operation for event in events for operation in ingest.feed(event)]
    return write_answer(conversation, [*operations, *ingest.end()], conversation.stream)


@pytest.mark.parametrize("sent", [streamed, whole, at_the_end, twice, uncounted])
@pytest.mark.parametrize("items", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_goes_back_as_it_came(conversation: Conversation, items: list[Item], sent: Any) -> None:
    """Item for item and key for key, however it was sent."""
    answer(conversation, sent(items))
    conversation.append("user", "Go on.")
    body, report = ask(conversation)
    assert body["input"][1:-1] == items
    assert not report.left_out


CUSTOM = {
    "type": "custom_tool_call",
    "id": "ctc_1",
    "call_id": "c1",
    "name": "sql",
    "input": 'SELECT "ü"\n\t\\ 🦒',
    "status": "completed",
}


@pytest.mark.parametrize("sent", [streamed, whole])
def test_a_tool_that_takes_plain_text_is_called(conversation: Conversation, sent: Any) -> None:
    """Its text is an argument, for whatever performs it; call and result go back as they must."""
    said = answer(conversation, sent([THOUGHT, CUSTOM]))
    assert said.stop_reason == "tool_calls"
    call = said.parts[-1].content
    assert (call["name"], json.loads(call["arguments"])) == ("sql", {"input": CUSTOM["input"]})
    result = new_part("tool_result", call_id=call["call_id"], content="done", is_error=False)
    conversation.append("tool", parts=[result])
    body, _ = ask(conversation)
    output = {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"}
    assert body["input"][1:] == [THOUGHT, CUSTOM, output]


def test_elsewhere_such_a_call_is_one_like_any_other(conversation: Conversation) -> None:
    """Another account gets a function's call and its result, and nothing that was sealed."""
    said = answer(conversation, whole([CUSTOM]))
    call_id = said.parts[-1].content["call_id"]
    result = new_part("tool_result", call_id=call_id, content="done", is_error=False)
    conversation.append("tool", parts=[result])
    request, _ = OpenAIResponses("gpt-5.6", api_key="another").materialize(
        conversation.log().messages, TARGET, (), Hidden.of(conversation, now_ms=0)
    )
    kinds = [item["type"] for item in json.loads(request.content)["input"][1:]]
    assert kinds == ["function_call", "function_call_output"]


@pytest.mark.parametrize("kind", ["computer_call", "local_shell_call", "shell_call", "apply_patch_call"])
def test_a_call_that_nobody_here_answers_is_left_out(conversation: Conversation, kind: str) -> None:
    """The API would refuse the next request; the report says so, and nothing pairs with it."""
    waiting = {"type": kind, "id": "x_1", "call_id": "c1", "action": {}}
    answer(conversation, whole([THOUGHT, waiting, message(text("a"), number=2)]))
    conversation.append("user", "Go on.")
    body, report = ask(conversation)
    assert [item.get("type") for item in body["input"][1:-1]] == ["reasoning", "message"]
    assert [note.reason for note in report.left_out] == [f"{kind}: nobody here answers it"]
