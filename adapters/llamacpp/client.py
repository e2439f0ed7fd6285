"""
llama-server's HTTP API: calls that answer with JSON, and one that streams.

Foreign errors end here: every exception of ``httpx``, by one table, and every error
of the server leaves as an ``AdapterError``. Its text quotes the server, except where
the server quotes the request: that would be a message's content.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

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

T = TypeVar("T")

# Reading waits as long as the model thinks; prompts are processed without a byte.
TIMEOUT = httpx.Timeout(10.0, read=600.0)

_DONE = "[DONE]"
# A proxy in the environment is not for this machine: it would get the key.
_NO_PROXY = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}
_QUOTE_LENGTH = 200
_HEAD_LENGTH = 24
_LAST_PORT = 65535
# Of a request: no person wrote these.
_OUR_WORDS = frozenset({"role", "type"})

_NOT_REACHED = "the model's server was not reached"
_BROKE_OFF = "the answer broke off"
_NO_URL = "the model's address is no http:// or https:// URL"
_NO_LLAMA = "what answers at the model's address is no llama-server"

FOREIGN_ERRORS: Final[Sequence[tuple[type[Exception], type[AdapterError], str]]] = (
    # The first row that fits: subclasses stand before their bases.
    (SSEError, RequestRefused, _NO_LLAMA),
    (httpx.InvalidURL, RequestRefused, _NO_URL),
    (httpx.UnsupportedProtocol, RequestRefused, _NO_URL),
    (httpx.LocalProtocolError, RequestRefused, "the request breaks the rules of HTTP"),
    (httpx.TooManyRedirects, RequestRefused, _NO_LLAMA),
    (httpx.CookieConflict, RequestRefused, _NO_LLAMA),
    (httpx.ConnectError, ProviderUnavailable, _NOT_REACHED),
    (httpx.ConnectTimeout, ProviderUnavailable, _NOT_REACHED),
    (httpx.PoolTimeout, ProviderUnavailable, _NOT_REACHED),
    (httpx.ProxyError, ProviderUnavailable, _NOT_REACHED),
    (httpx.WriteError, ProviderUnavailable, _NOT_REACHED),
    (httpx.WriteTimeout, ProviderUnavailable, _NOT_REACHED),
    (httpx.HTTPError, StreamBroken, _BROKE_OFF),
    (httpx.StreamError, StreamBroken, _BROKE_OFF),
    # Raised while a request is written: a key that is not ASCII, half a surrogate pair.
    (ValueError, RequestRefused, "the key or the request holds what can't be sent"),
)


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
            http: A client to use instead of one of our own; the caller closes it.

        Raises:
            RequestRefused: The address is no URL.
        """
        is_tls = _scheme(url) == "https"
        self._url = url.rstrip("/")
        # The server may close a kept connection that has carried a stream, unasked.
        self._headers = {"Connection": "close"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._owns_http = http is None
        # Loading certificates takes longer than a first token; plain HTTP needs none.
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT, verify=is_tls, mounts=_NO_PROXY)

    async def aclose(self) -> None:
        """Close connections, unless they are the caller's."""
        if self._owns_http:
            await self._http.aclose()

    async def health(self) -> bool:
        """
        Whether the server has loaded its model.

        Raises:
            AdapterError: Nothing answers there, or something else than llama-server.
        """
        try:
            return bool((await self._ask("GET", "/health")).get("status") == "ok")
        except ProviderUnavailable as error:
            if error.status is None:
                raise
            return False

    async def props(self) -> Mapping[str, Any]:
        """
        Return what the server says about itself and its model.

        Raises:
            AdapterError: As for every call.
        """
        return await self._ask("GET", "/props")

    async def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> Sequence[int]:
        """
        Return the ids of a text's tokens.

        Args:
            text: Any text.
            add_special: Put the model's begin token before it, where it has one.
            parse_special: Read ``<|im_end|>`` and the like as the tokens they name; for
                text that a person wrote: as the letters they are made of.

        Raises:
            AdapterError: As for every call.
        """
        body = {"content": text, "add_special": add_special, "parse_special": parse_special}
        return _field(await self._ask("POST", "/tokenize", body), "tokens", list)

    async def apply_template(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """
        Return the prompt that the model's chat template makes of messages.

        Raises:
            AdapterError: As for every call; the template may refuse them.
        """
        return _field(await self._ask("POST", "/apply-template", {"messages": messages}), "prompt", str)

    async def is_generating(self) -> bool:
        """
        Whether any slot of the server is at work.

        Raises:
            AdapterError: As for every call.
        """
        slots = _field({"slots": await self._json("GET", "/slots")}, "slots", list)
        return any(_field(slot, "is_processing", bool) for slot in slots)

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """
        Post a request, and yield the events of its answer; closing this ends the generation.

        Args:
            path: ``/v1/chat/completions``, ends with ``[DONE]``; or ``/completion``, with ``stop: true``.
            body: The request; it says ``stream: true`` itself.

        Raises:
            AdapterError: It was refused, or broke off.
        """
        async with (
            _mapped_errors(),
            aconnect_sse(
                self._http, "POST", f"{self._url}{path}", json=body, headers=self._headers
            ) as source,
        ):
            if source.response.is_error:
                await source.response.aread()
                raise _error_of_response(source.response, body)
            async for event in source.aiter_sse():
                if event.data == _DONE:
                    return
                data = _event(event, body)
                yield data
                if data.get("stop") is True:
                    return
        raise StreamBroken(_BROKE_OFF)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return _field({"answer": await self._json(method, path, body)}, "answer", dict)

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        async with _mapped_errors():
            answer = await self._http.request(method, f"{self._url}{path}", json=body, headers=self._headers)
        if answer.is_error:
            raise _error_of_response(answer, body)
        try:
            return answer.json()
        except ValueError as error:
            raise RequestRefused(_NO_LLAMA) from error


def _scheme(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise map_error(error) from error
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > _LAST_PORT:
        raise RequestRefused(_NO_URL)
    return parsed.scheme


def _field(answer: Any, name: str, kind: type[T]) -> T:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, kind):
        raise RequestRefused(_NO_LLAMA)
    return value


def _event(event: ServerSentEvent, sent: Mapping[str, Any]) -> dict[str, Any]:
    try:
        data = json.loads(event.data)
    except ValueError as error:
        raise StreamBroken("the server sent an event that is no JSON") from error
    if not isinstance(data, dict):
        raise StreamBroken("the server sent an event that is no object")
    if data.get("error"):
        raise error_of(500, event.data.encode(), sent=sent)
    return data


@asynccontextmanager
async def _mapped_errors() -> AsyncIterator[None]:
    try:
        yield
    except tuple(row[0] for row in FOREIGN_ERRORS) as error:
        raise map_error(error) from error


def map_error(error: Exception) -> AdapterError:
    """Return our error for one of the kinds in ``FOREIGN_ERRORS``."""
    ours, text = next((ours, text) for foreign, ours, text in FOREIGN_ERRORS if isinstance(error, foreign))
    return ours(f"{text} ({type(error).__name__})")


def _error_of_response(response: httpx.Response, sent: Mapping[str, Any] | None) -> AdapterError:
    return error_of(
        response.status_code,
        response.content,
        sent=sent or {},
        retry_after=response.headers.get("Retry-After", ""),
    )


def error_of(
    status: int, content: bytes, *, sent: Mapping[str, Any] | None = None, retry_after: str = ""
) -> AdapterError:
    """
    Return the error that a server's answer means.

    Args:
        status: The HTTP status.
        content: The body: llama.cpp's ``{"error": {"code", "message", "type"}}``, or anything.
        sent: The request, nothing of which may stand in the error's text.
        retry_after: The header of that name, in seconds.
    """
    detail = _detail(content)
    code = detail.get("code")
    status = code if isinstance(code, int) else status
    if detail.get("type") == "exceed_context_size_error":
        return _overflow(detail)
    if status in (401, 403):
        return NotAuthorized("the model's server wants another key", status=status)
    said = _quotable(str(detail.get("message", "")), sent or {}) or f"HTTP {status}"
    if status in (408, 409, 425, 429) or status >= 500:
        wait_s = float(retry_after) if retry_after.isdecimal() else None
        text = f"the model's server can't answer now: {said}"
        return ProviderUnavailable(text, status=status, retry_after_s=wait_s)
    return RequestRefused(f"the model's server refused the request: {said}", status=status)


def _quotable(message: str, sent: Mapping[str, Any]) -> str:
    """Return what a server said, or nothing if it repeats any text of the request."""
    if any(_quotes(message, form) for text in _texts(sent) for form in (text, _escaped(text))):
        return ""
    return message.split("\n", maxsplit=1)[0][:_QUOTE_LENGTH]


def _quotes(message: str, text: str) -> bool:
    # Servers shorten what they quote, so the head of a long text is enough; a short
    # one has to stand there as a word, or "a" would be found in everything.
    head = text.strip()[:_HEAD_LENGTH]
    end = "" if len(head) == _HEAD_LENGTH else r"(?!\w)"
    return bool(head and re.search(rf"(?<!\w){re.escape(head)}{end}", message))


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _texts(value: object, key: str = "") -> Iterator[str]:
    if isinstance(value, str) and key not in _OUR_WORDS:
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, name)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _texts(item)


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
