"""The Responses API against a strict server of it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters import OpenAIResponses
from adapters.executor import retries
from adapters.spaces import Place
from tests.adapters.dialogues import dialogue
from tests.providers.responses import ResponsesServer, refuse
from tests.providers.serving import Answer, Cut, serving

pytestmark = pytest.mark.anyio

CALLS = Answer("Let me look.", "hm", [("weather", '{"city": "Rome"}'), ("time", "{}")])


def openai(url: str) -> OpenAIResponses:
    """Return an adapter for a server that has OpenAI's keys."""
    adapter = OpenAIResponses("gpt-5.6", base_url=url, api_key="sk-secret")
    adapter._place = Place("openai", "openai", adapter.base_url, "gpt-5.6", "a")
    return adapter


def kinds(request: dict[str, Any]) -> list[str]:
    """Return the types of the items of a request."""
    return [item.get("type", item.get("role")) for item in request["input"]]


@pytest.mark.parametrize("params", [{}, {"store": False}], ids=["held", "sent"])
async def test_parallel_calls_and_reasoning_go_back(params: dict[str, Any]) -> None:
    """Two calls, their results, an answer, another question: the server takes each, held or sent whole."""
    server = ResponsesServer(CALLS, Answer("Warm.", "so"), Answer("Bye."))
    async with serving(server) as url, dialogue([openai(url)]) as talk:
        assert (await talk.ask("openai-responses", "Weather and time?", **params)).error is None
        talk.results("warm", "noon")
        assert (await talk.ask("openai-responses", **params)).error is None
        assert (await talk.ask("openai-responses", "Thanks", **params)).error is None
    if params:
        results = ["function_call_output"] * 2
        calls = ["user", "reasoning", "message", "function_call", "function_call"]
        assert kinds(server.requests[-1]) == [*calls, *results, "reasoning", "message", "user"]
    else:
        assert [kinds(request) for request in server.requests] == [
            ["user"],
            ["function_call_output"] * 2,
            ["user"],
        ]


async def test_a_lost_answer_is_replayed_once() -> None:
    """The provider forgot: all of it is sent again by itself, and the run says so."""
    server = ResponsesServer(Answer("A", "one"), Answer("B", "two"), Answer("C"))
    async with serving(server) as url, dialogue([openai(url)]) as talk:
        await talk.ask("openai-responses", "One?")
        first = talk.reply()
        server.forget()
        run = await talk.ask("openai-responses", "Two?")
        assert (run.error, talk.reply().text) == (None, "B")
        await talk.ask("openai-responses", "Three?")
    shown = [(request.get("previous_response_id"), kinds(request)) for request in server.requests]
    assert shown == [
        (None, ["user"]),
        ("resp_1", ["user"]),
        (None, ["user", "reasoning", "message", "user"]),
        ("resp_2", ["user"]),
    ]
    assert (run.sent or {})["refused"] == [f"{first.id}:server"]


async def test_reasoning_that_can_t_be_verified_is_left_out() -> None:
    """It is sent once more without, and nothing in it pairs with what is missing."""
    unverified = refuse("The encrypted content gAAA could not be verified.", code="invalid_encrypted_content")
    server = ResponsesServer(Answer("A", "one"), unverified, Answer("B"))
    async with serving(server) as url, dialogue([openai(url)]) as talk:
        await talk.ask("openai-responses", "One?", store=False)
        run = await talk.ask("openai-responses", "Two?", store=False)
    assert (run.error, talk.reply().text) == (None, "B")
    assert [kinds(request) for request in server.requests[1:]] == [
        ["user", "reasoning", "message", "user"],
        ["user", "assistant", "user"],
    ]


@pytest.mark.parametrize("after", range(0, 30, 3))
async def test_a_stream_may_be_cut_anywhere(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it breaks, the next question is answered, and no key stands in the document."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.0)
    server = ResponsesServer(Cut(after, CALLS))
    async with serving(server) as url, dialogue([openai(url)]) as talk:
        run = await talk.ask("openai-responses", "Where?")
        assert "sk-secret" not in repr((run, talk.reply()))
        assert (await talk.ask("openai-responses", "Again?")).error is None
    assert talk.reply().text == "ok"


async def test_a_failure_in_the_stream_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that failed before a word is asked for again; an answer that was cut off says why."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.0)
    failed = {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "Oops"}}
    error = {"type": "response.failed", "response": failed}
    server = ResponsesServer(Cut(1, error=error, is_rude=False), Answer("Rome.", stop="max_output_tokens"))
    async with serving(server) as url, dialogue([openai(url)]) as talk:
        assert (await talk.ask("openai-responses", "Where?")).state == "complete"
    reply = talk.reply()
    assert (reply.text, reply.stop_reason, len(server.requests)) == ("Rome.", "length", 2)
    assert (reply.usage or {})["cached_tokens"] == 3


async def test_the_first_whole_ciphertext_counts() -> None:
    """The copies at an item's beginning and in the whole response are others: neither is kept."""
    server = ResponsesServer(Answer("A", "one"))
    async with serving(server) as url, dialogue([openai(url)]) as talk:
        await talk.ask("openai-responses", "One?")
        sealed = str([field.data for field in talk.conversation.hidden(talk.reply().id)])
    assert "sealed 1" in sealed
    assert "half" not in sealed
    assert "again" not in sealed
