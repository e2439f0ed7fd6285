"""
Calls to a provider: a POST whose answer comes in events, and one that answers with JSON.

The key stands in a header and nowhere else: no error, log or report ever holds it.
Proxies come from the environment, as ``httpx`` reads it, but not for this machine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import anyio
import httpx
from httpx_sse import EventSource

from adapters.errors import RequestRefused, StreamBroken
from adapters.exchange import Request
from adapters.http.foreign import BROKE_OFF, NO_PROVIDER, mapped_errors, scheme_of
from adapters.http.refusals import error_of

# A proxy in the environment is not for this machine: it would get the key.
NO_PROXY: Final = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}

_DONE = "[DONE]"
DONE: Final = {"object": _DONE}
"""The event that stands for the word with which Chat Completions end a stream."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a call waits, in seconds: for a connection, between two bytes, and in all."""

    connect_s: float = 10.0
    between_s: float = 600.0
    whole_s: float = 3600.0


class Caller:
    """
    A provider by its address. Inside its context connections are kept and used again.

    Example:
        ``async with Caller("https://api.openai.com/v1", {"Authorization": "Bearer …"}) as caller: …``
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str] | None = None, *, timeouts: Timeouts | None = None
    ) -> None:
        """
        Make a caller; nothing is sent yet.

        Raises:
            RequestRefused: The address is no URL.
        """
        self._is_tls = scheme_of(base_url) == "https"
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._timeouts = timeouts or Timeouts()
        self._http: httpx.AsyncClient | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._http = await self._stack.enter_async_context(self._client())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._http = None
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def events(
        self, request: Request, *, framing: Literal["sse", "ndjson"] = "sse"
    ) -> AsyncGenerator[dict[str, Any], None]:
        """
        Make a call, and yield the JSON of its events; closing this ends the call.

        A server that answers a request for a stream with one JSON object has that as its only event; ``DONE``
        is the last of one that says so.

        Raises:
            AdapterError: It was refused, or broke off.
        """
        deadline_s = anyio.current_time() + self._timeouts.whole_s
        async with mapped_errors(), self._answer(request) as response:
            if response.is_error:
                await response.aread()
                raise error_of(
                    response.status_code,
                    response.content,
                    sent=request.body or {},
                    headers={key.lower(): value for key, value in response.headers.items()},
                )
            if framing == "sse" and "json" in response.headers.get("content-type", ""):
                yield _object((await response.aread()).decode())
                return
            lines = _sse(response) if framing == "sse" else _ndjson(response)
            async for line in lines:
                # Between two events: a cancel scope may not be left open while a generator waits.
                if anyio.current_time() > deadline_s:
                    raise StreamBroken(f"the answer took longer than {self._timeouts.whole_s:.0f} s")
                yield _object(line) if line != _DONE else dict(DONE)

    async def json(self, request: Request) -> Any:
        """
        Make a call, and return the JSON that it answers.

        Raises:
            AdapterError: It was refused, or no JSON came.
        """
        async with mapped_errors(), self._answer(request) as response:
            content = await response.aread()
            if response.is_error:
                headers = {key.lower(): value for key, value in response.headers.items()}
                raise error_of(response.status_code, content, sent=request.body or {}, headers=headers)
        try:
            return json.loads(content)
        except ValueError as error:
            raise RequestRefused(NO_PROVIDER) from error

    @asynccontextmanager
    async def _answer(self, request: Request) -> AsyncIterator[httpx.Response]:
        async with AsyncExitStack() as stack:
            http = self._http
            if http is None:
                http = await stack.enter_async_context(self._client())
            headers = {"Content-Type": "application/json", **self._headers, **request.headers}
            yield await stack.enter_async_context(
                http.stream(
                    request.method,
                    f"{self._base_url}{request.path}",
                    content=request.content if request.body is not None else None,
                    headers=headers,
                )
            )

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Timeout(self._timeouts.between_s, connect=self._timeouts.connect_s)
        # Loading certificates takes longer than a first token; plain HTTP needs none.
        return httpx.AsyncClient(timeout=limits, verify=self._is_tls, mounts=NO_PROXY)


async def _sse(response: httpx.Response) -> AsyncIterator[str]:
    async for event in EventSource(response).aiter_sse():
        if event.data:
            yield event.data
        if event.data == _DONE:
            return


async def _ndjson(response: httpx.Response) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        if line.strip():
            yield line


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StreamBroken(f"{BROKE_OFF}: the server sent an event that is no JSON") from error
    if not isinstance(data, dict):
        raise StreamBroken(f"{BROKE_OFF}: the server sent an event that is no object")
    return data
