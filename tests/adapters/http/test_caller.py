"""The thin call, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from adapters.errors import AdapterError, NotAuthorized, ProviderUnavailable, RequestRefused, StreamBroken
from adapters.exchange import Request
from adapters.http import DONE, Caller, Timeouts

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret"
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def serving(
    answer: bytes, *, hang: bool = False, pieces_of: int = 1 << 20
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every call with these bytes; yields the address and the requests."""
    seen: list[bytes] = []

    async def serve(stream: SocketStream) -> None:
        async with stream:
            seen.append(await stream.receive())
            for start in range(0, len(answer), pieces_of):
                await stream.send(answer[start : start + pieces_of])
            if hang:
                await anyio.sleep_forever()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            yield f"http://127.0.0.1:{port}", seen
            tasks.cancel_scope.cancel()


async def events(url: str, framing: Any = "sse", **timeouts: float) -> list[dict[str, Any]]:
    """Return all events of a call."""
    caller = Caller(url, {"Authorization": f"Bearer {KEY}"}, timeouts=Timeouts(**timeouts))
    request = Request("/v1/x", {"b": 1, "a": "ü"}, headers={"X-Beta": "on"})
    return [event async for event in caller.events(request, framing=framing)]


STREAMS = [
    (
        "text/event-stream",
        "sse",
        'data: {"a":1}\n\n: ping\n\ndata: {"a":2}\n\ndata: [DONE]\n\ndata: {"a":3}\n\n',
    ),
    ("text/event-stream", "sse", 'event: x\ndata: {"a":1}\n\ndata: {"a":2}\n\n'),
    ("application/x-ndjson", "ndjson", '{"a":1}\n\n{"a":2}\n'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "framing", "body"), STREAMS)
async def test_events_come_as_json(kind: str, framing: str, body: str) -> None:
    """Comments and what stands behind the end are no events; the word for the end is one."""
    ended = [DONE] if "[DONE]" in body else []
    async with serving((HEAD.format(kind) + body).encode()) as (url, _):
        assert await events(url, framing) == [{"a": 1}, {"a": 2}, *ended]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_events_may_come_in_pieces_of_any_size(size: int) -> None:
    """A character, a line and an event may be cut wherever the network likes."""
    body = HEAD.format("text/event-stream") + ': ping\r\n\r\ndata: {"a":"ü🦒"}\r\n\r\ndata: {"a":2}\n\n'
    async with serving(body.encode(), pieces_of=size) as (url, _):
        assert await events(url) == [{"a": "ü🦒"}, {"a": 2}]


async def test_one_object_is_one_event() -> None:
    """A server that does not stream is understood too."""
    async with serving((HEAD.format("application/json") + '{"a":1}').encode()) as (url, _):
        assert await events(url) == [{"a": 1}]


async def test_the_bytes_are_the_requests() -> None:
    """What is sent is what the digest was made of, keys in their order."""
    async with serving((HEAD.format("text/event-stream")).encode()) as (url, seen):
        await events(url)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert body == '{"b":1,"a":"ü"}'.encode()
    assert head.startswith(b"POST /v1/x HTTP/1.1")
    assert b"X-Beta: on" in head


REFUSALS: list[tuple[str, type[AdapterError]]] = [
    ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", NotAuthorized),
    ("HTTP/1.1 503 No\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n", ProviderUnavailable),
    (HEAD.format("text/html") + "<html>", RequestRefused),
    (HEAD.format("text/event-stream") + "data: no json\n\n", StreamBroken),
    (HEAD.format("text/event-stream") + "data: [1]\n\n", StreamBroken),
    (HEAD.format("text/event-stream\r\nContent-Length: 99") + "data: {}\n\n", StreamBroken),
    ("nonsense", StreamBroken),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), REFUSALS)
async def test_every_failure_is_ours_and_holds_no_key(answer: str, expected: type[AdapterError]) -> None:
    """Whatever comes instead of an answer; the key stands in no text, cause or attribute."""
    async with serving(answer.encode()) as (url, _):
        with pytest.raises(expected) as caught:
            await events(url)
    assert KEY not in repr((caught.value, caught.value.__cause__, vars(caught.value)))


async def test_a_server_that_falls_silent_is_left() -> None:
    """No byte comes for longer than was agreed."""
    async with serving(HEAD.format("text/event-stream").encode(), hang=True) as (url, _):
        with anyio.fail_after(20), pytest.raises(StreamBroken):
            await events(url, between_s=0.05)


async def test_an_answer_without_end_is_left() -> None:
    """The whole takes no longer than was agreed."""
    body = HEAD.format("text/event-stream") + 'data: {"a":1}\n\n'
    async with serving(body.encode(), hang=True) as (url, _):
        with anyio.fail_after(20), pytest.raises(StreamBroken, match="longer than"):
            await events(url, whole_s=-1)


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://h:99999"])
def test_an_address_must_be_one(url: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(RequestRefused):
        Caller(url)


async def test_json_is_asked_for_too() -> None:
    """A call that streams nothing returns what it answers."""
    answer = HEAD.format("application/json") + json.dumps({"id": "r"})
    async with serving(answer.encode()) as (url, seen), Caller(url) as caller:
        assert await caller.json(Request("/v1/r", None, method="GET")) == {"id": "r"}
        assert seen[0].startswith(b"GET /v1/r")
