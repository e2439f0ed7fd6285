"""The Messages API against a strict server of it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters import Anthropic
from adapters.executor import retries
from adapters.spaces import Place
from crdt_conv import Target
from tests.adapters.dialogues import dialogue
from tests.providers.messages import MessagesServer, refuse
from tests.providers.serving import Answer, Cut, serving

pytestmark = pytest.mark.anyio

CALLS = Answer("Let me look.", "hm", [("weather", '{"city": "Rome"}'), ("time", "{}")])
TARGET = Target("anthropic")
BOUND = MessagesServer.bound


def claude(url: str, model: str = "claude-opus-4-1") -> Anthropic:
    """Return an adapter for a server that has Anthropic's keys."""
    adapter = Anthropic(model, base_url=url, api_key="sk-secret")
    adapter._place = Place("anthropic", "anthropic", adapter.base_url, model, "a")
    return adapter


def kinds(request: dict[str, Any]) -> list[list[str]]:
    """Return the types of the blocks of each message."""
    return [[block["type"] for block in message["content"]] for message in request["messages"]]


@pytest.mark.parametrize("model", ["claude-opus-4-1", BOUND])
async def test_parallel_calls_and_reasoning_go_back(model: str) -> None:
    """Two calls at once, their results, an answer, another question: every block is in its place."""
    server = MessagesServer(CALLS, Answer("Warm.", "so"), Answer("Bye.", "well"))
    async with serving(server) as url, dialogue([claude(url, model)]) as talk:
        assert (await talk.ask("anthropic", "Weather and time?")).error is None
        talk.results("warm", "noon")
        assert (await talk.ask("anthropic")).error is None
        assert (await talk.ask("anthropic", "Thanks")).error is None
    assert kinds(server.requests[-1]) == [
        ["text"],
        ["thinking", "text", "tool_use", "tool_use"],
        ["tool_result", "tool_result"],
        ["thinking", "text"],
        ["text"],
    ]


async def test_a_merge_drops_only_what_is_bound_to_another_request() -> None:
    """What another branch brings stands behind: of two answered forks only the second loses reasoning."""
    server = MessagesServer(*(Answer(f"A{n}", f"r{n}") for n in range(4)))
    async with serving(server) as url, dialogue([claude(url, BOUND)]) as talk:
        await talk.ask("anthropic", "One?")
        talk.conversation.fork("side", talk.reply().id)
        await talk.ask("anthropic", "Main?")
        await talk.ask("anthropic", "Side?", branch="side")
        talk.conversation.merge("side")
        run = await talk.ask("anthropic", "Both?")
    assert run.error is None
    thoughts = [
        block["thinking"]
        for message in server.requests[-1]["messages"]
        for block in message["content"]
        if block["type"] == "thinking"
    ]
    assert thoughts == ["r0", "r1"]
    assert [note["reason"] for note in (run.sent or {})["left_out"]] == [
        (
            "thinking: the conversation before it is not the one it was made from"
            "; reasoning that nobody sealed for this request"
        ),
    ]


async def test_cache_points_stand_where_the_next_request_finds_them() -> None:
    """Three at most: behind the system prompt, behind what the last answer was made from, at the end."""
    server = MessagesServer(Answer("A"), Answer("B"))
    async with serving(server) as url, dialogue([claude(url)]) as talk:
        talk.conversation.append("system", "Be brief.")
        await talk.ask("anthropic", "One?")
        run = await talk.ask("anthropic", "Two?")
    marked = [
        at
        for at, message in enumerate(server.requests[-1]["messages"])
        if "cache_control" in message["content"][-1]
    ]
    assert (marked, "cache_control" in server.requests[-1]["system"][-1]) == ([0, 2], True)
    assert (run.sent or {})["reused"] == {"cache_points": 3}


async def test_a_pause_is_answered_by_asking_again() -> None:
    """The answer so far goes back as it is, and the same run goes on behind it, with no alternative."""
    server = MessagesServer(Answer("Half", "r", stop="pause_turn"), Answer("whole."))
    async with serving(server) as url, dialogue([claude(url)]) as talk:
        run = await talk.ask("anthropic", "Search.")
        log = talk.conversation.log().messages
    assert (run.state, run.outputs) == ("complete", tuple(message.id for message in log[1:]))
    assert [(message.text, message.stop_reason) for message in log[1:]] == [
        ("Half", "pause"),
        ("whole.", "stop"),
    ]
    assert kinds(server.requests[1]) == [["text"], ["thinking", "text"]]


async def test_thinking_is_off_while_foreign_calls_are_open() -> None:
    """Calls of another model came without reasoning of this one; the API would refuse manual thinking."""
    server = MessagesServer(Answer("", "", [("f", "{}")]))
    async with serving(server) as url, dialogue([claude(url)]) as talk:
        await talk.ask("anthropic", "Go.")
        talk.results("done")
        thinking = {"type": "enabled", "budget_tokens": 2000}
        run = await talk.ask("anthropic", thinking=thinking)
    assert (run.error, server.requests[-1]["thinking"]) == (None, {"type": "disabled"})
    assert [note["about"] for note in (run.sent or {})["repairs"]] == ["thinking"]


@pytest.mark.parametrize("after", range(0, 24, 2))
async def test_a_stream_may_be_cut_anywhere(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it breaks: half a thought or call is not sent back, and the next question is answered."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.0)
    server = MessagesServer(Cut(after, CALLS))
    async with serving(server) as url, dialogue([claude(url, BOUND)]) as talk:
        run = await talk.ask("anthropic", "Where?")
        assert "sk-secret" not in repr((run, talk.reply()))
        assert (await talk.ask("anthropic", "Again?")).error is None
    assert talk.reply().text == "ok"


async def test_an_error_may_come_in_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overloaded after a status of 200, before a word: it is asked again."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.0)
    error = refuse("overloaded_error", "Overloaded").body
    server = MessagesServer(Cut(1, error=error, is_rude=False), Answer("Rome."))
    async with serving(server) as url, dialogue([claude(url)]) as talk:
        assert (await talk.ask("anthropic", "Where?")).state == "complete"
    assert (talk.reply().text, len(server.requests)) == ("Rome.", 2)


async def test_usage_counts_what_the_cache_gave() -> None:
    """The whole prompt is what was read, written and fresh."""
    server = MessagesServer(Answer("A", stop="max_tokens"))
    async with serving(server) as url, dialogue([claude(url)]) as talk:
        await talk.ask("anthropic", "x")
    reply = talk.reply()
    usage = {key: value for key, value in (reply.usage or {}).items() if key.endswith("_tokens")}
    assert usage == {"input_tokens": 10, "output_tokens": 9, "cached_tokens": 3, "cache_write_tokens": 2}
    assert reply.stop_reason == "length"


INVALID = refuse("invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block")


def thoughts(request: dict[str, Any]) -> list[str]:
    """Return the reasoning in a request."""
    blocks = [block for message in request["messages"] for block in message["content"]]
    return [block["thinking"] for block in blocks if block["type"] == "thinking"]


async def test_a_refused_signature_is_left_out_from_then_on() -> None:
    """It is sent once more without; later requests leave out the same, and what was sealed since goes."""
    server = MessagesServer(Answer("A", "one"), INVALID, Answer("B", "two"), Answer("C"))
    async with serving(server) as url, dialogue([claude(url)]) as talk:
        await talk.ask("anthropic", "One?")
        first = talk.reply()
        run = await talk.ask("anthropic", "Two?")
        await talk.ask("anthropic", "Three?")
    assert [thoughts(request) for request in server.requests] == [[], ["one"], [], ["two"]]
    assert (run.error, (run.sent or {})["refused"]) == (None, [first.id])


async def test_a_request_is_repaired_once_at_most() -> None:
    """A second refusal is the end of the run: there is no loop."""
    server = MessagesServer(Answer("A", "one"), INVALID, INVALID, INVALID)
    async with serving(server) as url, dialogue([claude(url)]) as talk:
        await talk.ask("anthropic", "One?")
        run = await talk.ask("anthropic", "Two?")
    assert (run.state, (run.error or {})["type"], len(server.requests)) == ("failed", "hidden_refused", 3)
