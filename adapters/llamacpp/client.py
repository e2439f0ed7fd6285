"""
llama-server's HTTP API: calls that answer with JSON, and one that streams.

Foreign errors end here: every exception of ``httpx``, by one table, and every error
of the server leaves as an ``AdapterError``. Its text quotes the server, except where
the server quotes the request: that would be a message's content.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse

from adapters.errors import AdapterError, ProviderUnavailable, RequestRefused, StreamBroken
from adapters.http import error_of, mapped_errors, scheme_of
from adapters.http.caller import NO_PROXY
from adapters.http.foreign import BROKE_OFF

T = TypeVar("T")

# Reading waits as long as the model thinks; prompts are processed without a byte.
TIMEOUT = httpx.Timeout(10.0, read=600.0)

_DONE = "[DONE]"

_NO_LLAMA = "what answers at the model's address is no llama-server"


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
        is_tls = scheme_of(url) == "https"
        self._url = url.rstrip("/")
        # The server may close a kept connection that has carried a stream, unasked.
        self._headers = {"Connection": "close"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._owns_http = http is None
        # Loading certificates takes longer than a first token; plain HTTP needs none.
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT, verify=is_tls, mounts=NO_PROXY)

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

    async def tokenize_mixed(
        self, content: Sequence[str | int], *, add_special: bool, parse_special: bool
    ) -> list[int]:
        """
        Return the ids of texts, each tokenized by itself; numbers among them come back as they are.

        Args:
            content: Texts and numbers.
            add_special: Put the model's begin token before the first, if that is a text.
            parse_special: As for ``tokenize``.

        Raises:
            AdapterError: As for every call.
        """
        body = {"content": content, "add_special": add_special, "parse_special": parse_special}
        return _field(await self._ask("POST", "/tokenize", body), "tokens", list)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """
        Return the text of tokens.

        Raises:
            AdapterError: As for every call.
        """
        return _field(await self._ask("POST", "/detokenize", {"tokens": list(tokens)}), "content", str)

    async def apply_template(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """
        Return the prompt that the model's chat template makes of messages.

        Raises:
            AdapterError: As for every call; the template may refuse them.
        """
        body = {"messages": messages, **({"tools": tools} if tools else {})}
        return _field(await self._ask("POST", "/apply-template", body), "prompt", str)

    async def save_slot(self, slot: int, filename: str) -> int:
        """
        Write a slot's state into the server's folder, and return how many tokens it is of.

        Raises:
            AdapterError: As for every call.
        """
        answer = await self._ask("POST", f"/slots/{slot}?action=save", {"filename": filename})
        return _field(answer, "n_saved", int)

    async def restore_slot(self, slot: int, filename: str) -> int:
        """
        Read a slot's state from the server's folder, and return how many tokens it is of.

        Raises:
            AdapterError: As for every call; whatever is wrong with the file, the slot is empty then.
        """
        answer = await self._ask("POST", f"/slots/{slot}?action=restore", {"filename": filename})
        return _field(answer, "n_restored", int)

    async def models(self) -> Mapping[str, Any]:
        """
        Return the models that the server lists, as OpenAI would.

        Raises:
            AdapterError: As for every call.
        """
        return await self._ask("GET", "/v1/models")

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
            mapped_errors(),
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
        raise StreamBroken(BROKE_OFF)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return _field({"answer": await self._json(method, path, body)}, "answer", dict)

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        async with mapped_errors():
            answer = await self._http.request(method, f"{self._url}{path}", json=body, headers=self._headers)
        if answer.is_error:
            raise _error_of_response(answer, body)
        try:
            return answer.json()
        except ValueError as error:
            raise RequestRefused(_NO_LLAMA) from error


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


def _error_of_response(response: httpx.Response, sent: Mapping[str, Any] | None) -> AdapterError:
    return error_of(
        response.status_code,
        response.content,
        sent=sent or {},
        retry_after=response.headers.get("Retry-After", ""),
    )
