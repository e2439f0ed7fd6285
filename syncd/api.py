"""
JSON over HTTP, errors as problem details (RFC 9457).

The token comes as ``Authorization: Bearer``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from crdt_conv import MAIN, CrdtConvError, Store, StoreError, UnknownBranch, UnknownConversation, UsageError
from syncd.auth import is_token
from syncd.view import conversation_json, info_json

Handler = Callable[[Store, Request], Awaitable[Response]]

MAX_BODY_BYTES = 1024 * 1024


class _Problem(Exception):
    """An answer that says no."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status = status


def routes() -> list[Route]:
    """Return the routes below ``/api``."""
    return [
        Route("/api/conversations", _answer(_list), methods=["GET"]),
        Route("/api/conversations", _answer(_create), methods=["POST"]),
        Route("/api/conversations/{conversation}", _answer(_show), methods=["GET"]),
    ]


async def _list(store: Store, _request: Request) -> Response:
    return JSONResponse({"conversations": [info_json(info) for info in store.list()]})


async def _create(store: Store, request: Request) -> Response:
    fields = await _fields(request)
    title, conversation_id = fields.get("title", ""), fields.get("id")
    if not isinstance(title, str) or not isinstance(conversation_id, str | None):
        raise _Problem(422, "'title' and 'id' are strings")
    created = store.create(title, conversation_id=conversation_id)
    return JSONResponse({"id": created.id}, status_code=201)


async def _show(store: Store, request: Request) -> Response:
    conversation = store.open(request.path_params["conversation"])
    return JSONResponse(conversation_json(conversation, request.query_params.get("branch", MAIN)))


async def _fields(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _Problem(413, f"a body has at most {MAX_BODY_BYTES} bytes")
    try:
        fields = json.loads(body or b"{}")
    except ValueError:
        raise _Problem(400, "the body is no JSON") from None
    if not isinstance(fields, dict):
        raise _Problem(422, "the body is no JSON object")
    return fields


def _answer(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            _authorize(request)
            return await handler(request.app.state.hub.store, request)
        except _Problem as problem:
            return _problem(problem.status, str(problem))
        except CrdtConvError as error:
            return _problem(_status(error), str(error))

    return answer


def _authorize(request: Request) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not is_token(request.app.state.token, given):
        raise _Problem(401, "a valid token is needed: Authorization: Bearer")


def _status(error: CrdtConvError) -> int:
    if isinstance(error, UnknownConversation | UnknownBranch):
        return 404
    if isinstance(error, UsageError):
        return 422
    return 503 if isinstance(error, StoreError) else 500


def _problem(status: int, title: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    body = {"type": "about:blank", "title": title, "status": status}
    return JSONResponse(body, status_code=status, headers=headers, media_type="application/problem+json")
