"""What is sent of a log, and when the provider's own copy is named in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from adapters import OpenAIResponses
from adapters.exchange import Hidden, Report, Request
from adapters.writing import write_answer
from crdt_conv import Conversation, Message, Store, Target, new_part

ADAPTER = OpenAIResponses("gpt-5.6", api_key="key")
TARGET = Target("openai-responses")


@pytest.fixture
def conversation() -> Conversation:
    """Return an empty conversation."""
    return Store(":memory:").create()


def ask(
    conversation: Conversation, target: Target = TARGET, adapter: OpenAIResponses = ADAPTER, **hidden: Any
) -> tuple[Request, Report]:
    """Materialize a conversation."""
    heads = [head.id for head in conversation.heads()]
    return adapter.materialize(
        conversation.lin(*heads), target, (), Hidden.of(conversation, now_ms=0, **hidden)
    )


def body_of(request: Request) -> Mapping[str, Any]:
    """Return a request's body."""
    assert request.body is not None
    return request.body


def reply(conversation: Conversation, *items: dict[str, Any], **rest: Any) -> Message:
    """Answer a conversation, as the API would."""
    request, _ = ask(conversation)
    ingest = ADAPTER.ingest(request)
    whole = {"object": "response", "id": "resp_1", "status": "completed", "model": "gpt-5.6"}
    operations = [*ingest.feed({**whole, "output": list(items), **rest}), *ingest.end()]
    return write_answer(conversation, operations, conversation.stream)


def thought(number: int = 1) -> dict[str, Any]:
    """Return a reasoning item."""
    return {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": "gAAA="}


def said(text: str) -> dict[str, Any]:
    """Return a message item."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def inputs(request: Request) -> Sequence[Any]:
    """Return what is sent."""
    found: Sequence[Any] = body_of(request)["input"]
    return found


def test_only_what_is_new_is_sent_where_the_provider_holds_the_rest(conversation: Conversation) -> None:
    """The answer is named, its log is not sent again, and the report says so."""
    conversation.append("user", "Where?")
    reply(conversation, thought(), said("To the sea."))
    conversation.append("user", "When?")
    request, report = ask(conversation)
    assert inputs(request) == [{"role": "user", "content": "When?"}]
    assert body_of(request)["previous_response_id"] == "resp_1"
    assert report.reused == {"previous_response": "resp_1"}
    assert [field.kind for field in report.hidden] == ["response"]


def test_a_handle_holds_for_later_answers_too(conversation: Conversation) -> None:
    """The last answer is named; what it was asked with counts whole, though only its end was sent."""
    conversation.append("user", "Where?")
    reply(conversation, said("To the sea."))
    conversation.append("user", "When?")
    reply(conversation, said("In June."), id="resp_2")
    conversation.append("user", "How?")
    request, _ = ask(conversation)
    assert (body_of(request)["previous_response_id"], len(inputs(request))) == ("resp_2", 1)


WHOLE = [
    {"role": "user", "content": "Where?"},
    thought(),
    said("To the sea."),
    {"role": "user", "content": "When?"},
]


@pytest.mark.parametrize("params", [{"store": False}, {"stateful": False}])
def test_all_is_sent_where_nothing_is_to_be_held(conversation: Conversation, params: dict[str, Any]) -> None:
    """Items go back as they came, reasoning before what was made from it, ids and all."""
    conversation.append("user", "Where?")
    reply(conversation, thought(), said("To the sea."))
    conversation.append("user", "When?")
    request, report = ask(conversation, Target("openai-responses", params=params))
    assert inputs(request) == WHOLE
    assert "previous_response_id" not in body_of(request)
    assert [field.kind for field in report.hidden] == ["reasoning", "message"]


def test_a_lost_handle_leads_to_all_of_it(conversation: Conversation) -> None:
    """What the provider has said it lost is not named again."""
    conversation.append("user", "Where?")
    answer = reply(conversation, thought(), said("To the sea."))
    conversation.append("user", "When?")
    request, report = ask(conversation, refused=frozenset({f"{answer.id}:server"}))
    assert inputs(request) == WHOLE
    assert report.left_out[0].reason == "response: the provider has refused it before"


def test_a_log_that_is_another_is_sent_whole(conversation: Conversation) -> None:
    """A handle does not stand for a log into which something was merged before its answer."""
    question = conversation.append("user", "Where?")
    reply(conversation, said("To the sea."))
    conversation.append("user", "By train?", branch="b", parents=[question.id])
    merged = conversation.append(
        "user", "When?", parents=[conversation.heads("b")[0].id, conversation.heads()[0].id]
    )
    request, report = ADAPTER.materialize(
        conversation.lin(merged.id), TARGET, (), Hidden.of(conversation, now_ms=0)
    )
    assert "previous_response_id" not in body_of(request)
    assert any("not the one that it stands for" in note.reason for note in report.left_out)


AZURE = OpenAIResponses("gpt-5.6", base_url="https://x.openai.azure.com", api_key="key")
OTHERS = {
    "another model": (ADAPTER, Target("openai-responses", "gpt-4o")),
    "another account": (OpenAIResponses("gpt-5.6", api_key="another"), TARGET),
    "another provider": (
        OpenAIResponses("gpt-5.6", base_url="https://x.openai.azure.com", api_key="k"),
        TARGET,
    ),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_nothing_sealed_goes_elsewhere(
    conversation: Conversation, other: tuple[OpenAIResponses, Target]
) -> None:
    """Without its reasoning an answer is a plain text that pairs with nothing."""
    conversation.append("user", "Where?")
    reply(conversation, thought(), said("To the sea."))
    conversation.append("user", "When?")
    adapter, target = other
    request, report = ask(conversation, target, adapter)
    assert inputs(request)[1] == {"role": "assistant", "content": "To the sea."}
    assert not report.hidden
    assert "gAAA=" not in request.content.decode()


def test_reasoning_that_nothing_was_made_from_is_left_out(conversation: Conversation) -> None:
    """The API refuses a reasoning item without the one behind it: an answer that broke off ends with such."""
    conversation.append("user", "Where?")
    reply(conversation, said("To the"), thought(2))
    conversation.append("user", "Go on.")
    request, report = ask(conversation, Target("openai-responses", params={"store": False}))
    assert [item.get("type", "user") for item in inputs(request)] == ["user", "message", "user"]
    assert "nothing was made from" in report.left_out[0].reason


def test_what_pairs_with_what_is_missing_has_no_id(conversation: Conversation) -> None:
    """Reasoning that was only held by the provider is lost: the text made from it goes without its id."""
    conversation.append("user", "Where?")
    held = {"type": "reasoning", "id": "rs_1", "summary": []}
    answer = reply(conversation, held, said("To the sea."))
    conversation.append("user", "When?")
    request, _ = ask(conversation, refused=frozenset({f"{answer.id}:server"}))
    assert inputs(request)[1] == {"role": "assistant", "content": "To the sea."}


def test_calls_results_and_other_items_keep_their_places(conversation: Conversation) -> None:
    """Parallel calls come back with their results behind them; an item that nobody knows goes back whole."""
    conversation.append("user", "Where?")
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}}
    calls = [
        {
            "type": "function_call",
            "id": f"fc_{n}",
            "call_id": f"c{n}",
            "name": "look",
            "arguments": '{ "n": 1 }',
        }
        for n in (1, 2)
    ]
    answer = reply(conversation, search, thought(), *calls)
    assert answer.stop_reason == "tool_calls"
    result = {"content": "done", "is_error": False}
    parts = [part for part in answer.parts if part.type == "tool_call"]
    conversation.append(
        "tool", parts=[new_part("tool_result", call_id=p.content["call_id"], **result) for p in parts]
    )
    request, _ = ask(conversation, Target("openai-responses", params={"store": False}))
    outputs = [{"type": "function_call_output", "call_id": f"c{n}", "output": "done"} for n in (1, 2)]
    assert list(inputs(request))[1:] == [search, thought(), *calls, *outputs]
    assert json.loads(request.content)["store"] is False
