"""
The guard in front of everything: pages of other origins, and names that are not ours, get nothing.

A browser sends a page's origin along with every WebSocket and every request that could do harm; a
program sends none. And a page can have its own name point to this machine (DNS rebinding): then the
``Host`` it asks for is not one of ours.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Collection
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from syncd.logs.events import event

logger = logging.getLogger("syncd")

FORBIDDEN = 4403

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, if-none-match, if-range, last-event-id, range",
    ),
    (b"access-control-max-age", b"600"),
]
# Else a page may read the body, but of the headers only the few that CORS lets by.
_EXPOSED = (
    b"access-control-expose-headers",
    b"accept-ranges, allow, content-range, etag, link, location, retry-after, www-authenticate",
)


def host_name(host: str) -> str | None:
    """Return the name in a ``Host`` header without its port, in small letters; nothing where it is odd."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def check_host(host: str | None, allowed: Collection[str]) -> bool:
    """
    Whether a ``Host`` header names this server.

    Args:
        host: The header.
        allowed: Names besides those of loopback; ``*`` allows every name. A server that listens
            on an address is asked for by that address, too.
    """
    name = host_name(host) if host else None
    if name is None:
        return False
    if "*" in allowed or name in _LOOPBACK or name in allowed:
        return True
    # An address is no name that somebody else could point here.
    return _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_origin(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """
    Whether a page may talk to this server: one of our own, or one that was allowed by its origin.

    Args:
        origin: The header; none comes from programs, which is fine.
        host: The ``Host`` header of the same request.
        allowed: Origins such as ``https://chat.example``; ``*`` allows all.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    try:
        own = urlsplit(origin)
    except ValueError:
        return False
    return own.scheme in {"http", "https"} and own.netloc.lower() == (host or "").lower()


class Guard:
    """ASGI middleware that lets nothing by from another origin, or under another name."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(name.lower() for name in hosts)
        self._origins = frozenset(origin.rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or say why not."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host"), headers.get("origin")
        refusal = None
        if not check_host(host, self._hosts):
            refusal = (421, "this server is not known by this name: --allow-host")
        elif not check_origin(origin, host, self._origins):
            refusal = (403, "pages of this origin may not connect: --allow-origin")
        if refusal is not None:
            client = (scope.get("client") or ("",))[0]
            fields = {"client": client, "code": refusal[0], "reason": refusal[1]}
            logger.warning("not let in", extra=event("access_denied", **fields))
        if refusal is None:
            is_allowed = origin in self._origins or "*" in self._origins
            await self._serve(scope, receive, send, origin if is_allowed else None)
        elif scope["type"] == "http":
            await _refuse(send, *refusal)
        else:
            await _close(receive, send, refusal[1])

    async def _serve(self, scope: Scope, receive: Receive, send: Send, origin: str | None) -> None:
        if scope["type"] != "http" or origin is None:
            await self._app(scope, receive, send)
            return
        cors = [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"vary", b"Origin"),
        ]
        if scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            await send({"type": "http.response.start", "status": 204, "headers": [*cors, *_PREFLIGHT]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def with_cors(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *cors, _EXPOSED]}
            await send(message)

        await self._app(scope, receive, with_cors)


async def _refuse(send: Send, status: int, detail: str) -> None:
    title = HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _close(receive: Receive, send: Send, reason: str) -> None:
    # Accepted first: a browser sees a close code, but no HTTP status.
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": FORBIDDEN, "reason": reason})
