"""Chat Completions against strict servers of its dialects."""

from __future__ import annotations

import pytest

from adapters import OpenAIChat
from adapters.executor import retries
from tests.adapters.dialogues import dialogue
from tests.providers.chat import ChatServer, refuse
from tests.providers.serving import Answer, Cut, serving

pytestmark = pytest.mark.anyio

CALLS = Answer("Let me look.", "hm", [("weather", '{"city": "Rome"}'), ("time", "{}")])
DIALECTS = ["openai", "deepseek", "mistral", "openrouter", "vllm"]


def adapter(url: str, dialect: str = "openai") -> OpenAIChat:
    """Return an adapter for a server."""
    return OpenAIChat("m", base_url=url, api_key="sk-secret", dialect=dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_parallel_calls_and_reasoning_go_back(dialect: str) -> None:
    """Two calls at once, their results, an answer, another question: each server takes every request."""
    server = ChatServer(CALLS, Answer("Warm.", "so"), Answer("Bye."), dialect=dialect)
    async with serving(server) as url, dialogue([adapter(url, dialect)]) as talk:
        assert (await talk.ask("openai-chat", "Weather and time?")).error is None
        said = talk.reply()
        assert [(part.type, part.text or part.content.get("arguments")) for part in said.parts] == [
            ("reasoning", "hm"),
            ("text", "Let me look."),
            ("tool_call", '{"city": "Rome"}'),
            ("tool_call", "{}"),
        ]
        talk.results("warm", "noon")
        assert (await talk.ask("openai-chat")).error is None
        assert (await talk.ask("openai-chat", "Thanks")).error is None
    assert talk.reply().text == "Bye."
    assert len(server.requests) == 3
    assert [m["role"] for m in server.requests[-1]["messages"]] == [
        "user", "assistant", "tool", "tool", "assistant", "user",
    ]  # fmt: skip


async def test_what_was_sent_stays_a_prefix() -> None:
    """Each request begins with the messages of the one before, byte for byte."""
    server = ChatServer(CALLS, Answer("Warm."), Answer("Bye."))
    async with serving(server) as url, dialogue([adapter(url)]) as talk:
        await talk.ask("openai-chat", "Weather and time?")
        talk.results("warm", "noon")
        await talk.ask("openai-chat")
        await talk.ask("openai-chat", "Thanks")
    first, second, third = (request["messages"] for request in server.requests)
    assert second[: len(first)] == first
    assert third[: len(second)] == second


async def test_usage_and_end_are_in_the_words_of_all() -> None:
    """Counts, the reason it stopped and the model that answered are on the message."""
    server = ChatServer(Answer("A", "r", stop="length"))
    async with serving(server) as url, dialogue([adapter(url)]) as talk:
        await talk.ask("openai-chat", "x")
    reply = talk.reply()
    assert reply.stop_reason == "length"
    usage = dict(reply.usage or {})
    assert usage.pop("raw")["total_tokens"] == usage["input_tokens"] + 7
    assert usage | {"input_tokens": 0} == {
        "input_tokens": 0,
        "output_tokens": 7,
        "cached_tokens": 3,
        "reasoning_tokens": 2,
        "model": "m-2026",
    }


async def test_openrouter_is_kept_at_the_upstream_that_can_read_it() -> None:
    """Within a tool loop no other upstream is allowed; afterwards it is asked for first."""
    server = ChatServer(CALLS, Answer("Warm."), Answer("Bye."), dialect="openrouter")
    async with serving(server) as url:
        router = OpenAIChat("m", base_url=url, api_key="k", dialect="openrouter")
        router._place = type(router._place)("openrouter", "openrouter", url, "m", "a")
        async with dialogue([router]) as talk:
            await talk.ask("openai-chat", "Weather and time?")
            talk.results("warm", "noon")
            await talk.ask("openai-chat")
            await talk.ask("openai-chat", "Thanks")
    assert [request.get("provider") for request in server.requests] == [
        None,
        {"order": ["A"], "allow_fallbacks": False},
        {"order": ["A"]},
    ]


@pytest.mark.parametrize("after", range(12))
@pytest.mark.parametrize("is_rude", [True, False])
async def test_a_stream_may_be_cut_anywhere(
    after: int,
    is_rude: bool,  # noqa: FBT001 - a row
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever it is cut: what had come stays, or it is asked again; the next question is answered."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.0)
    server = ChatServer(Cut(after, Answer("Rome.", "", [("f", "{}")]), is_rude=is_rude))
    async with serving(server) as url, dialogue([adapter(url)]) as talk:
        run = await talk.ask("openai-chat", "Where?")
        assert run.state in ("failed", "complete")
        assert "sk-secret" not in repr((run, talk.reply()))
        assert (await talk.ask("openai-chat", "Again?")).state == "complete"
    assert talk.reply().text == "ok"


async def test_a_missing_done_is_no_loss() -> None:
    """Some servers just end the stream."""
    server = ChatServer(Answer("Rome."))
    server.says_done = False
    async with serving(server) as url, dialogue([adapter(url)]) as talk:
        assert (await talk.ask("openai-chat", "Where?")).state == "complete"


async def test_a_busy_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate limit is waited for, the same bytes are sent, and nobody sees it."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.0)
    busy = refuse("Rate limit reached", status=429, code="rate_limit_exceeded", **{"retry-after-ms": "1"})
    server = ChatServer(busy, busy, Answer("Rome."))
    async with serving(server) as url, dialogue([adapter(url)]) as talk:
        assert (await talk.ask("openai-chat", "Where?")).state == "complete"
    assert server.requests[0] == server.requests[1] == server.requests[2]


async def test_no_quota_is_not_asked_again() -> None:
    """Waiting does not help there: a person is told at once."""
    server = ChatServer(refuse("You exceeded your quota", status=429, code="insufficient_quota"))
    async with serving(server) as url, dialogue([adapter(url)]) as talk:
        run = await talk.ask("openai-chat", "Where?")
    assert (run.state, (run.error or {}).get("type"), len(server.requests)) == ("failed", "quota_exceeded", 1)
