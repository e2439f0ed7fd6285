"""A daemon over HTTP, as far as others that exchange with it need it: what it has, and what goes on there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from httpx_sse import SSEError, aconnect_sse

from syncd.client.dial import distrust
from syncd.errors import SyncRefused, SyncTimeout

TIMEOUT_S: Final = 30.0
SILENCE_S: Final = 45.0
"""A stream of events says something each 15 s."""
PAGE: Final = 200


class Remote:
    """A daemon over HTTP. Every call raises ``SyncRefused``, or ``SyncTimeout`` where it is not reached."""

    def __init__(self, url: str, token: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        """
        Name a daemon.

        Args:
            url: ``http://`` or ``ws://``, with host and port; ``https`` and ``wss`` too.
            token: Who we are.
            timeout_s: How long one answer may take.

        Raises:
            SyncTimeout: This can't be its URL.
        """
        self.url = url
        base = url.replace("ws://", "http://", 1).replace("wss://", "https://", 1)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.AsyncClient(base_url=base, headers=headers, timeout=timeout_s)
        except httpx.InvalidURL as error:
            raise SyncTimeout(f"{url} is no URL: http://host:port") from error

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def reach(self) -> None:
        """See that it is there."""
        await self._ask("GET", "/healthz")

    async def conversations(self) -> list[str]:
        """Return the ids of all conversations that it shows us."""
        found: list[str] = []
        page: dict[str, str | int] = {"limit": PAGE}
        while True:
            answer = await self._ask("GET", "/api/conversations", params=page)
            if answer.status_code != httpx.codes.OK:
                raise self._refused(answer)
            try:
                told = answer.json()
                found += [str(entry["id"]) for entry in told["conversations"]]
                following = told.get("next")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise SyncRefused(f"{self.url} does not answer like a crdt-conv daemon", 0) from error
            if following is None:
                return found
            page["cursor"] = str(following)

    async def is_deleted(self, conversation: str) -> bool:
        """Whether a conversation was deleted there."""
        answer = await self._ask("HEAD", f"/api/conversations/{quote(conversation, safe='')}")
        return answer.status_code == httpx.codes.GONE

    async def delete(self, conversation: str) -> None:
        """Delete a conversation there, if it is there."""
        answer = await self._ask("DELETE", f"/api/conversations/{quote(conversation, safe='')}")
        done = {httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND, httpx.codes.GONE}
        if answer.status_code not in done:
            raise self._refused(answer)

    async def has_blob(self, sha256: str, conversation: str) -> bool:
        """Whether a blob of a conversation is there."""
        answer = await self._ask("HEAD", f"/api/blobs/{sha256}", params={"conversation": conversation})
        return self._found(answer)

    async def get_blob(self, sha256: str, conversation: str) -> bytes | None:
        """Return a blob of a conversation, or nothing where it is not there."""
        answer = await self._ask("GET", f"/api/blobs/{sha256}", params={"conversation": conversation})
        if not self._found(answer):
            return None
        if hashlib.sha256(answer.content).hexdigest() != sha256:
            raise SyncRefused(f"{self.url} sent other bytes than it was asked for", 0)
        return answer.content

    async def put_blob(self, sha256: str, data: bytes, conversation: str) -> None:
        """Give it a blob of a conversation."""
        headers, params = {"Content-Type": "application/octet-stream"}, {"conversation": conversation}
        answer = await self._ask("PUT", f"/api/blobs/{sha256}", params=params, content=data, headers=headers)
        if answer.status_code not in {httpx.codes.OK, httpx.codes.CREATED}:
            raise self._refused(answer)

    async def put_lease(self, conversation: str, run: str, owner: str, ttl_s: float) -> dict[str, Any] | None:
        """Take or renew the lease of a run; nothing where another holds it, it is over, or not there yet."""
        body = {"owner": owner, "ttl_s": ttl_s}
        answer = await self._ask("PUT", _lease_path(conversation, run), json=body)
        if answer.status_code in {httpx.codes.CONFLICT, httpx.codes.NOT_FOUND}:
            return None
        if answer.status_code != httpx.codes.OK:
            raise self._refused(answer)
        told = answer.json()
        return told if isinstance(told, dict) else {}

    async def delete_lease(self, conversation: str, run: str, owner: str) -> None:
        """End the lease of a run, if this owner holds it."""
        answer = await self._ask("DELETE", _lease_path(conversation, run), params={"owner": owner})
        if answer.status_code not in {httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND}:
            raise self._refused(answer)

    def _found(self, answer: httpx.Response) -> bool:
        if answer.status_code not in {httpx.codes.OK, httpx.codes.NOT_FOUND}:
            raise self._refused(answer)
        return answer.status_code == httpx.codes.OK

    async def events(self) -> AsyncIterator[tuple[str, str]]:
        """Yield what happens there, until it ends the stream: a kind, and a conversation's id or nothing."""
        timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
        try:
            async with aconnect_sse(self._http, "GET", "/api/events", timeout=timeout) as source:
                if source.response.status_code != httpx.codes.OK:
                    raise self._refused(source.response)
                async for event in source.aiter_sse():
                    yield event.event, str(event.json().get("id", ""))
        except (httpx.HTTPError, SSEError, ValueError, AttributeError) as error:
            raise self._lost(error) from error

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> SyncTimeout:
        reason = distrust(error)
        if reason:
            return SyncTimeout(f"{self.url}: {reason}")
        return SyncTimeout(f"{self.url} was not reached ({type(error).__name__}): is 'syncd serve' running?")

    def _refused(self, answer: httpx.Response) -> SyncRefused | SyncTimeout:
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            return SyncTimeout(f"{self.url} can't now: it answered {answer.status_code}")
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            return SyncRefused(f"{self.url} wants a valid token", 401)
        return SyncRefused(f"{self.url} answered {answer.status_code}", answer.status_code)


def _lease_path(conversation: str, run: str) -> str:
    return f"/api/conversations/{quote(conversation, safe='')}/runs/{quote(run, safe='')}/lease"
