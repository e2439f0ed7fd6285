"""The client against a network made of fixed answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from adapters.errors import (
    AdapterError,
    ContextOverflow,
    ProviderUnavailable,
    RequestRefused,
    StreamBroken,
)
from adapters.llamacpp.client import LlamaClient

pytestmark = pytest.mark.anyio

OVERFLOW = {
    "code": 400,
    "message": "request (9031 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 9031,
    "n_ctx": 4096,
}


def client(answer: Callable[[httpx.Request], httpx.Response]) -> LlamaClient:
    """Return a client whose requests this function answers."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return LlamaClient("http://llama.test/", "key", http=http)


def sse(*events: str) -> httpx.Response:
    """Return a stream of these events that then closes cleanly."""
    content = "".join(f"data: {event}\n\n" for event in events)
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=content)


def error(status: int, **detail: Any) -> httpx.Response:
    """Return an error in llama-server's form."""
    return httpx.Response(status, json={"error": detail})


async def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """Read the whole stream of this answer."""
    async with aclosing(client(lambda _: answer).stream("/completion", {"stream": True})) as stream:
        return [event async for event in stream]


# Streams


async def test_done_ends_a_stream() -> None:
    """Nothing after [DONE] is read."""
    assert await events(sse('{"a": 1}', "[DONE]", '{"b": 2}')) == [{"a": 1}]


async def test_stop_true_ends_a_stream_and_is_yielded() -> None:
    """/completion has no [DONE]; its last event says stop."""
    answer = sse('{"content": "x", "stop": false}', '{"content": "", "stop": true}', '{"more": 1}')
    assert [event["stop"] for event in await events(answer)] == [False, True]


@pytest.mark.parametrize("text", ['{"a": 1}', '{"stop": false}', '{"stop": "true"}'])
async def test_a_stream_that_just_ends_is_broken(text: str) -> None:
    """A connection that closes cleanly before the end is not taken for the end."""
    with pytest.raises(StreamBroken):
        await events(sse(text))


async def test_what_came_before_a_cut_is_yielded() -> None:
    """A cut in the middle of an event raises after the whole events were handed on."""

    async def cut() -> AsyncIterator[bytes]:
        yield b'data: {"a": 1}\n\ndata: {"b"'
        raise httpx.ReadError("reset")

    answer = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=cut())
    stream = client(lambda _: answer).stream("/completion", {})
    assert await anext(stream) == {"a": 1}
    with pytest.raises(StreamBroken) as raised:
        await anext(stream)
    assert isinstance(raised.value.__cause__, httpx.ReadError)


@pytest.mark.parametrize("text", ["{", "[1]", "null", '"text"', ""])
async def test_an_event_that_is_no_object_breaks_the_stream(text: str) -> None:
    """Nonsense in a stream is an error of ours, not of the JSON parser."""
    with pytest.raises(StreamBroken):
        await events(sse(text, "[DONE]"))


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        (OVERFLOW, ContextOverflow),
        ({"code": 503, "message": "Loading model", "type": "unavailable_error"}, ProviderUnavailable),
        ({"message": "Compute error."}, ProviderUnavailable),
    ],
)
async def test_an_error_in_a_stream_is_mapped(detail: dict[str, Any], expected: type[AdapterError]) -> None:
    """The status was 200 long ago; the event's own code counts."""
    with pytest.raises(expected):
        await events(sse('{"a": 1}', json.dumps({"error": detail})))


async def test_an_error_of_null_is_none() -> None:
    """Some servers put the key into every event."""
    assert len(await events(sse('{"error": null}', "[DONE]"))) == 1


async def test_another_program_at_the_address_is_refused() -> None:
    """An answer that is no event stream is not worth another try."""
    with pytest.raises(RequestRefused, match="no server of this kind"):
        await events(httpx.Response(200, html="<h1>It works!</h1>"))


# Calls


async def test_requests_carry_the_key_and_close_their_connection() -> None:
    """Every request is authorized, and none reuses a connection that a stream went over."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return sse("[DONE]") if request.method == "POST" else httpx.Response(200, json={"status": "ok"})

    llama = client(answer)
    assert [event async for event in llama.stream("/completion", {})] == []
    assert await llama.health()
    assert [str(request.url) for request in seen] == [
        "http://llama.test/completion",
        "http://llama.test/health",
    ]
    assert {request.headers["Authorization"] for request in seen} == {"Bearer key"}
    assert {request.headers["Connection"] for request in seen} == {"close"}


async def test_loading_is_not_healthy_yet() -> None:
    """503 says that the server is there and the model is not."""
    assert not await client(lambda _: error(503, message="Loading model")).health()


async def test_no_answer_is_an_error_and_not_bad_health() -> None:
    """Whether it is loading can't be said of a server that is not there."""

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ProviderUnavailable):
        await client(refuse).health()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"tokens": None, "prompt": 1}),
        httpx.Response(200, text="<h1>It works!</h1>"),
    ],
)
async def test_answers_of_another_shape_are_refused(answer: httpx.Response) -> None:
    """A program that is no llama-server is recognized, whatever it answers."""
    llama = client(lambda _: answer)
    with pytest.raises(RequestRefused, match="no llama-server"):
        await llama.tokenize("x")
    with pytest.raises(RequestRefused, match="no llama-server"):
        await llama.apply_template([])


@pytest.mark.parametrize("slots", [{}, [{}], [1], None])
async def test_slots_of_another_shape_are_refused(slots: Any) -> None:
    """Nor is a list taken for slots."""
    with pytest.raises(RequestRefused, match="no llama-server"):
        await client(lambda _: httpx.Response(200, json=slots)).is_generating()


async def test_only_a_client_of_its_own_is_closed() -> None:
    """Who brings an httpx client keeps it."""
    async with httpx.AsyncClient() as http:
        await LlamaClient("http://llama.test", http=http).aclose()
        assert not http.is_closed


@pytest.mark.parametrize(
    "url", ["", "llama.test:80", "ftp://llama.test", "http://[::1", "http://", "http://llama.test:99999"]
)
def test_an_address_that_is_no_url_is_refused(url: str) -> None:
    """A mistake in the configuration shows at once, and is not tried again."""
    with pytest.raises(RequestRefused, match="URL"):
        LlamaClient(url)


async def test_a_key_that_is_not_ascii_is_refused() -> None:
    """A key that was pasted wrong is an error of ours, and not quoted."""
    async with httpx.AsyncClient() as http:
        with pytest.raises(RequestRefused) as raised:
            await LlamaClient("http://llama.test", "schlüssel", http=http).health()
    assert "schl" not in str(raised.value)
