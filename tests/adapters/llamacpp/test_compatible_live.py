"""llama.cpp's own servers of other providers' APIs: real judges of our requests, with a real model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters import Adapter, Anthropic, OpenAIChat
from adapters.exchange import Tool
from adapters.exchange.tools import tools_part
from crdt_conv import new_part
from tests.adapters.dialogues import Dialogue, dialogue
from tests.adapters.llamacpp.live import Running

pytestmark = pytest.mark.anyio

WEATHER = Tool("weather", "Say the weather", {"type": "object", "properties": {"city": {"type": "string"}}})


def chat(server: Running) -> OpenAIChat:
    """Return an adapter for /v1/chat/completions."""
    return OpenAIChat("smollm2", base_url=f"{server.url}/v1", api_key=server.api_key, dialect="llamacpp")


def messages(server: Running) -> Anthropic:
    """Return an adapter for /v1/messages."""
    return Anthropic("smollm2", base_url=server.url, api_key=server.api_key)


def talk_before(talk: Dialogue) -> None:
    """Write a log that has everything: tools, a call and its result, answers, system messages."""
    talk.conversation.append("system", "Be brief.", parts=[tools_part([WEATHER])])
    talk.conversation.append("user", "Weather in Rome?")
    call = new_part("tool_call", call_id="call_1", name="weather", arguments='{"city": "Rome"}')
    talk.conversation.append("assistant", parts=[new_part("reasoning", text="hm"), call])
    result = new_part("tool_result", call_id="call_1", content="sunny", is_error=False)
    talk.conversation.append("tool", parts=[result])
    talk.conversation.append("assistant", "It is sunny.")
    talk.conversation.append("system", "Answer in English.")


@pytest.mark.parametrize("make", [chat, messages])
async def test_a_real_model_answers(make: Callable[[Running], Adapter], running: Running) -> None:
    """A log with all of that is taken; tokens come, are counted, and the end has a reason."""
    adapter = make(running)
    async with dialogue([adapter]) as talk:
        talk_before(talk)
        run = await talk.ask(adapter.name, "And in Paris?", max_tokens=8, temperature=0)
        reply = talk.reply()
        assert (run.state, run.error) == ("complete", None)
        assert reply.parts
        assert reply.stop_reason in ("stop", "length", "tool_calls")
        usage = reply.usage or {}
        assert usage["output_tokens"] > 0
        assert usage["input_tokens"] > 20


@pytest.mark.parametrize("make", [chat, messages])
async def test_a_prefix_is_found_again(make: Callable[[Running], Adapter], running: Running) -> None:
    """The second request begins with the tokens of the first: the server reuses them."""
    adapter = make(running)
    async with dialogue([adapter]) as talk:
        await talk.ask(
            adapter.name, "Say one word about every city in Italy. " * 8, max_tokens=4, temperature=0
        )
        await talk.ask(adapter.name, "And now one more.", max_tokens=4, temperature=0)
        usage = talk.reply().usage or {}
    assert usage["cached_tokens"] > 60


@pytest.mark.parametrize("make", [chat, messages])
async def test_too_long_is_said_so(make: Callable[[Running], Adapter], running: Running) -> None:
    """A conversation that the model can't read fails with the counts, and is not tried again."""
    adapter = make(running)
    async with dialogue([adapter]) as talk:
        run = await talk.ask(adapter.name, "word " * 3000, max_tokens=4)
    assert (run.error or {})["type"] == "context_overflow"
