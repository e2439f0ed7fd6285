"""
The ASGI application below ``/api``: finds the operation, lets the caller in, and answers.

Paths are matched segment by segment as they were sent, and decoded afterwards, so that an id
may hold a slash (``%2F``). Every refusal is a problem; nothing else ends an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crdt_conv import CrdtConvError
from syncd.api.call import Call
from syncd.api.operations import Operation
from syncd.api.problems import Problem, problem_of
from syncd.logs.events import event

logger = logging.getLogger("syncd")

HEADERS: Final = {"X-Content-Type-Options": "nosniff"}
SEND_S: Final = 60.0
"""So long may the other end read nothing, before the answer is given up."""
PRIVATE: Final = "no-store"
"""What conversations say stays out of caches; blobs say otherwise."""


class Api:
    """Serves a table of operations."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._paths: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            self._paths.setdefault(operation.path, {})[operation.method] = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await Problem(404, "no socket is here: /sync and /collab have them").response()(
                scope, receive, send
            )
            return
        answering = _Answering(send, is_head=scope["method"] == "HEAD")
        try:
            response = await self._respond(Request(scope, receive))
            await response(scope, receive, answering.send)
        except (ClientDisconnect, _PeerStuck):
            return
        except Exception as error:  # noqa: BLE001 - the last resort: nobody sees a traceback, and the server goes on
            if not answering.has_begun:
                await _unforeseen(error)(scope, receive, answering.send)
                return
            # The server sees that the answer has no end, and closes the connection.
            _log(error)

    async def _respond(self, request: Request) -> ASGIApp:
        try:
            return await self._answer(request)
        except Problem as problem:
            return problem.response()
        except CrdtConvError as error:
            refusal = problem_of(error)
            if refusal.status >= 500:
                # By its template: what a stranger asks for is not for the message of a line.
                path = request.scope.get("syncd.path", "?")
                extra = event("request_failed", code=refusal.status, reason=str(error))
                logger.error("%s %s failed", request.method, path, extra=extra)
            return refusal.response()

    async def _answer(self, request: Request) -> ASGIApp:
        template, path = self._find(request.scope)
        methods = self._paths[template]
        request.scope["syncd.path"] = template
        allowed = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        operation = methods.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            raise Problem(405, f"{request.method} is not for this path", headers={"Allow": allowed})
        call = Call(request, operation, path)
        await call.admit()
        return await operation.handler(call)

    def _find(self, scope: Scope) -> tuple[str, Mapping[str, str]]:
        segments = _segments(scope)
        for template in self._paths:
            path = _match(template.split("/")[1:], segments)
            if path is not None:
                return template, path
        raise Problem(404, "there is nothing at this path: /openapi.json says what there is")


def _segments(scope: Scope) -> list[str]:
    """Return the path below where this is mounted, segment by segment, each decoded."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    segments = raw.partition(b"?")[0].split(b"/")[1:]
    mounted = [part for part in scope.get("root_path", "").split("/") if part]
    try:
        return [unquote_to_bytes(segment).decode() for segment in segments[len(mounted) :]]
    except UnicodeDecodeError:
        raise Problem(404, "there is nothing at this path: it is no UTF-8") from None


def _match(template: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    path: dict[str, str] = {}
    for part, segment in zip(template, segments, strict=True):
        if part.startswith("{") and segment:
            path[part[1:-1]] = segment
        elif part != segment:
            return None
    return path


def _unforeseen(error: Exception) -> Response:
    _log(error)
    return Problem(500, "something went wrong in the server, which wrote it down").response()


def _log(error: Exception) -> None:
    # Its kind and place: a text may quote a conversation.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
    reason = f"{type(error).__name__} at {where}"
    logger.error("a request failed", extra=event("request_failed", code=500, reason=reason))


class _PeerStuck(Exception):
    """The other end reads nothing: what is left of the answer is not sent."""


class _Answering:
    """Watches an answer go out, and gives it the headers that all have."""

    def __init__(self, send: Send, *, is_head: bool) -> None:
        self._send = send
        self._is_head = is_head
        self.has_begun = False

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            message["headers"] = [*message["headers"], *_missing(message["headers"])]
        elif self._is_head:
            message = {**message, "body": b""}
        try:
            with anyio.fail_after(SEND_S):
                await self._send(message)
        except TimeoutError:
            raise _PeerStuck from None


def _missing(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    names = {name.lower() for name, _ in headers}
    every = {**HEADERS, "Cache-Control": PRIVATE}
    return [(n.lower().encode(), v.encode()) for n, v in every.items() if n.lower().encode() not in names]
