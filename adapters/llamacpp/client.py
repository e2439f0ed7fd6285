"""
llama-server's HTTP API: one call that streams.

Foreign errors end here: every ``httpx`` exception and every error of the server
leaves as an ``AdapterError``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, SSEError, aconnect_sse

from adapters.errors import (
    AdapterError,
    ContextOverflow,
    NotAuthorized,
    ProviderUnavailable,
    RequestRefused,
    StreamBroken,
)

# Reading waits as long as the model thinks; prompts are processed without a byte.
TIMEOUT = httpx.Timeout(10.0, read=600.0)

_DONE = "[DONE]"


class LlamaClient:
    """A llama-server by its address."""

    def __init__(
        self, url: str, api_key: str | None = None, *, http: httpx.AsyncClient | None = None
    ) -> None:
        """
        Make a client; nothing is sent yet.

        Args:
            url: ``http://host:port``.
            api_key: The server's key, where it has one.
            http: A client to use instead of one of our own.
        """
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT)

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """
        Post a request, and yield the events of its answer; closing this ends the generation.

        Raises:
            AdapterError: It was refused, or broke off.
        """
        # The server may close a kept connection that has carried a stream, unasked.
        headers = {**self._headers, "Connection": "close"}
        async with (
            _mapped_errors(),
            aconnect_sse(self._http, "POST", f"{self._url}{path}", json=body, headers=headers) as source,
        ):
            if source.response.is_error:
                await source.response.aread()
                raise error_of(source.response.status_code, source.response.content)
            async for event in source.aiter_sse():
                if event.data == _DONE:
                    return
                yield _event(event)

    async def is_generating(self) -> bool:
        """Whether any slot of the server is at work."""
        async with _mapped_errors():
            answer = await self._http.get(
                f"{self._url}/slots", headers={**self._headers, "Connection": "close"}
            )
        if answer.is_error:
            raise error_of(answer.status_code, answer.content)
        return any(slot["is_processing"] for slot in answer.json())


def _event(event: ServerSentEvent) -> dict[str, Any]:
    try:
        data = json.loads(event.data)
    except ValueError as error:
        raise StreamBroken("the server sent an event that is no JSON") from error
    if not isinstance(data, dict):
        raise StreamBroken("the server sent an event that is no object")
    if "error" in data:
        raise error_of(500, event.data.encode())
    return data


@asynccontextmanager
async def _mapped_errors() -> AsyncIterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise ProviderUnavailable("the model's server was not reached") from error
    except (httpx.TransportError, SSEError) as error:
        raise StreamBroken(f"the answer broke off ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise RequestRefused(f"the request failed ({type(error).__name__})") from error
    except httpx.InvalidURL as error:
        raise RequestRefused("the model's address is no URL") from error


def error_of(status: int, content: bytes) -> AdapterError:
    """
    Return the error that a server's answer means.

    Args:
        status: The HTTP status.
        content: The body: llama.cpp's ``{"error": {"code", "message", "type"}}``, or anything.
    """
    detail = _detail(content)
    kind, message = str(detail.get("type", "")), str(detail.get("message", "")) or f"HTTP {status}"
    code = detail.get("code")
    status = code if isinstance(code, int) else status
    if kind == "exceed_context_size_error":
        return _overflow(detail)
    if status in (401, 403):
        return NotAuthorized("the model's server wants another key", status=status)
    if status in (408, 409, 425, 429) or status >= 500:
        return ProviderUnavailable(f"the model's server can't answer now: {message}", status=status)
    return RequestRefused(f"the model's server refused the request: {message}", status=status)


def _overflow(detail: Mapping[str, Any]) -> ContextOverflow:
    prompt, context = detail.get("n_prompt_tokens"), detail.get("n_ctx")
    return ContextOverflow(
        f"the conversation has {prompt} tokens and the model reads {context}:"
        " fork at an earlier message, or start the model with a larger context",
        prompt_tokens=prompt if isinstance(prompt, int) else None,
        context_tokens=context if isinstance(context, int) else None,
    )


def _detail(content: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError:
        return {}
    detail = answer.get("error") if isinstance(answer, dict) else None
    return detail if isinstance(detail, dict) else {}
