"""The client and a real llama-server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import httpx
import pytest

from adapters.errors import AdapterError, ContextOverflow, NotAuthorized, ProviderUnavailable
from adapters.llamacpp.client import LlamaClient
from tests.adapters.llamacpp.live import Running, until

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "Say hello."}]
CHAT = {"messages": HELLO, "temperature": 0, "max_tokens": 4, "stream": True}
PROMPT = {"prompt": "One, two,", "temperature": 0, "n_predict": 3, "stream": True}
ENDLESS = {**PROMPT, "n_predict": 900, "ignore_eos": True}


@pytest.fixture
async def llama(running: Running) -> AsyncIterator[LlamaClient]:
    """A client of the running server."""
    client = LlamaClient(running.url, running.api_key)
    yield client
    await client.aclose()


async def read(llama: LlamaClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Read a whole answer."""
    async with aclosing(llama.stream(path, body)) as events:
        return [event async for event in events]


async def test_it_is_healthy_and_tells_of_itself(llama: LlamaClient) -> None:
    """Each slot has the context that was asked for, however many there are."""
    assert await llama.health()
    props = await llama.props()
    assert props["total_slots"] == 2
    assert props["default_generation_settings"]["n_ctx"] == 1024


async def test_a_chat_streams(llama: LlamaClient) -> None:
    """Text comes in pieces, then a reason to stop."""
    choices = [event["choices"][0] for event in await read(llama, "/v1/chat/completions", CHAT)]
    assert len([choice for choice in choices if choice["delta"].get("content")]) > 1
    assert choices[-1]["finish_reason"] == "length"


async def test_a_completion_streams(llama: LlamaClient) -> None:
    """The last event has the figures, and comes through."""
    events = await read(llama, "/completion", PROMPT)
    assert [event["stop"] for event in events] == [False] * 3 + [True]
    assert events[-1]["timings"]["predicted_n"] == 3


async def test_tokens_and_templates(llama: LlamaClient) -> None:
    """Special tokens are read as such only where they were not written by a person."""
    prompt = await llama.apply_template(HELLO)
    assert "Say hello." in prompt
    tokens = await llama.tokenize(prompt)
    assert tokens
    assert all(isinstance(token, int) for token in tokens)
    assert len(await llama.tokenize(prompt, parse_special=False)) > len(tokens)


async def until_idle(llama: LlamaClient) -> None:
    """Wait until the server has stopped writing; left alone it would write for much longer."""

    async def is_idle() -> bool:
        return not await llama.is_generating()

    await until(is_idle, seconds=1)


async def test_closing_a_stream_ends_the_generation(llama: LlamaClient) -> None:
    """The server stops in the middle of what it would have written."""
    async with aclosing(llama.stream("/completion", ENDLESS)) as events:
        await anext(events)
        assert await llama.is_generating()
    await until_idle(llama)


async def test_cancelling_a_reader_ends_the_generation(llama: LlamaClient) -> None:
    """A cancelled task leaves nothing running, though it was waiting for the next event."""
    begun = anyio.Event()

    async def write_on() -> None:
        async with aclosing(llama.stream("/completion", ENDLESS)) as events:
            async for _ in events:
                begun.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write_on)
        await begun.wait()
        tasks.cancel_scope.cancel()
    await until_idle(llama)


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_another_key_is_refused(running: Running, key: str | None) -> None:
    """Others on this machine can't use the model; they may see that it is there."""
    stranger = LlamaClient(running.url, key)
    with pytest.raises(NotAuthorized):
        await read(stranger, "/completion", PROMPT)
    with pytest.raises(NotAuthorized):
        await stranger.props()
    assert await stranger.health()
    await stranger.aclose()


async def test_a_request_that_is_too_long_says_how_long(llama: LlamaClient) -> None:
    """Both figures are the server's."""
    with pytest.raises(ContextOverflow) as raised:
        await read(llama, "/completion", {**PROMPT, "prompt": "word " * 2000})
    assert raised.value.context_tokens == 1024
    assert (raised.value.prompt_tokens or 0) >= 2000


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"content": "my PIN is 4711"}]},
        {"messages": HELLO, "tools": [{"secret": "my PIN is 4711"}]},
        {"messages": HELLO, "response_format": {"type": "text", "x": 1}, "grammar": "my PIN is 4711"},
    ],
)
async def test_real_errors_quote_nothing(llama: LlamaClient, body: dict[str, Any]) -> None:
    """llama-server repeats the request in its errors; ours don't."""
    with pytest.raises(AdapterError) as raised:
        await read(llama, "/v1/chat/completions", {**body, "stream": True})
    assert "4711" not in str(raised.value)


async def test_a_proxy_is_not_for_this_machine(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment never sees the key of a local server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    llama = LlamaClient(running.url, running.api_key)
    assert await llama.health()
    await llama.aclose()


async def test_nobody_listening_is_worth_another_try() -> None:
    """A port that nothing listens on is an error that may pass."""
    llama = LlamaClient("http://127.0.0.1:9")
    with pytest.raises(ProviderUnavailable) as raised:
        await llama.health()
    assert raised.value.is_retryable
    await llama.aclose()


async def test_slots_are_saved_where_it_was_said(running: Running, llama: LlamaClient) -> None:
    """The folder for checkpoints is the server's, without a slash at its end too."""
    await read(llama, "/completion", {**PROMPT, "id_slot": 0})
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {running.api_key}"}) as http:
        answer = await http.post(f"{running.url}/slots/0?action=save", json={"filename": "a.bin"})
    assert answer.json()["n_saved"] > 0
    assert (running.slots_folder / "a.bin").is_file()
