"""Moving between providers in the middle of a conversation, and back, with calls and reasoning in the log."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from adapters import Adapter, Anthropic, Gemini, OpenAIChat, OpenAIResponses
from adapters.remote import Remote
from adapters.spaces import Place
from tests.adapters.dialogues import Dialogue, dialogue
from tests.providers.chat import ChatServer
from tests.providers.gemini import GeminiServer
from tests.providers.messages import MessagesServer
from tests.providers.responses import ResponsesServer
from tests.providers.serving import Answer, Provider, serving

pytestmark = pytest.mark.anyio

NAMES = ["openai", "deepseek", "mistral", "openrouter", "claude", "bound", "responses", "gemini"]
PAIRS = list(itertools.permutations(NAMES, 2))
OTHERS: dict[str, Callable[..., Provider]] = {
    "claude": MessagesServer,
    "bound": MessagesServer,
    "responses": ResponsesServer,
    "gemini": GeminiServer,
}
# What Claude's older models seal, its newer ones read.
SHARED = {("claude", "bound")}
CALLS = Answer("Let me look.", "hm", [("weather", '{"city":"Rome"}'), ("time", "{}")])


def server_of(name: str) -> Provider:
    """Return a server that calls tools first, then answers."""
    script = (CALLS, Answer("Warm.", "so"), Answer("Bye.", "well"))
    return OTHERS[name](*script) if name in OTHERS else ChatServer(*script, dialect=name)


def adapter_of(name: str, url: str) -> Adapter:
    """Return an adapter for a server, under its own name."""
    made: Remote
    if name in ("claude", "bound"):
        model = MessagesServer.bound if name == "bound" else "claude-opus-4-1"
        made = Anthropic(model, base_url=url, api_key="k")
        made._place = Place("anthropic", "anthropic", made.base_url, model, "a")
    elif name == "responses":
        made = OpenAIResponses("m", base_url=url, api_key="k")
        made._place = Place("openai", "openai", made.base_url, "m", "a")
    elif name == "gemini":
        made = Gemini("gemini-3-pro", base_url=url, api_key="k")
        made._place = Place("gemini", "gemini-api", made.base_url, "gemini-3-pro", "a")
    else:
        made = OpenAIChat("m", base_url=url, api_key="k", dialect=name)
        space = "openrouter" if name == "openrouter" else f"host:{name}"
        made._place = Place(made.dialect.provider, space, made.base_url, "m", "a")
    # One executor holds two of one kind here.
    vars(made)["name"] = name
    return made


@asynccontextmanager
async def between(*names: str) -> AsyncIterator[tuple[Dialogue, Sequence[Provider]]]:
    """Open a conversation between servers."""
    async with AsyncExitStack() as stack:
        servers = [server_of(name) for name in names]
        urls = [await stack.enter_async_context(serving(server)) for server in servers]
        adapters = [adapter_of(name, url) for name, url in zip(names, urls, strict=True)]
        yield await stack.enter_async_context(dialogue(adapters)), servers


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_there_and_back(one: str, other: str) -> None:
    """Each takes every request, calls that the other made too, and sees nothing that is hidden of it."""
    async with between(one, other) as (talk, servers):
        runs = [await talk.ask(one, "Weather and time?")]
        talk.results("warm", "noon")
        fields = talk.conversation.hidden(runs[0].outputs[0])
        runs.append(await talk.ask(other))  # The other calls tools too.
        told = json.dumps(servers[1].requests)
        talk.results("warm", "noon")
        runs.append(await talk.ask(one))
        runs.append(await talk.ask(other, "Sure?"))
        runs.append(await talk.ask(one, "Thanks"))
    assert [run.error for run in runs] == [None] * 5
    assert [server.count for server in servers] == [3, 2]
    if (one, other) not in SHARED:
        assert '"hm"' not in told
        # Of readable reasoning the field holds the name of its key, no more.
        assert not any(str(field.data) in told for field in fields if field.kind != "reasoning")


@pytest.mark.parametrize("name", NAMES)
async def test_all_hidden_fields_may_be_gone(name: str) -> None:
    """Strip them all, in the middle of open calls too, and the conversation goes on with everybody."""
    async with between(name) as (talk, _):
        await talk.ask(name, "Weather and time?")
        talk.results("warm", "noon")
        talk.conversation.strip()
        runs = [await talk.ask(name), await talk.ask(name, "Thanks")]
    assert [run.error for run in runs] == [None, None]
