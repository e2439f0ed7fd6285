"""
A chat backend with users of its own that mounts the daemon beside its routes.

Run it with ``uvicorn --factory examples.mounted:create``, and open a stock client at ``/crdt/collab``
or ``/crdt/sync/<conversation>`` with the cookie ``user=ann``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from crdt_conv import Store
from syncd.app import create_app
from syncd.auth import CallableGate, Credentials, Right
from syncd.hub import Hub

# Whose conversation it is: in a real backend tables, and the cookie a session's.
USERS = {"ann", "bob"}
MEMBERS = {"trip": {"ann": {Right.WRITE, Right.RUN}, "bob": {Right.READ}}}


def decide(credentials: Credentials, conversation: str | None) -> set[Right] | None:
    """Say what the user behind a cookie may do in a conversation; ``None`` where nobody is known."""
    user = SimpleCookie(credentials.headers.get("cookie", "")).get("user")
    if user is None or user.value not in USERS:
        return None
    return MEMBERS.get(conversation or "", {}).get(user.value, set())


def create(path: str = "chats.db") -> Starlette:
    """Make the backend."""
    gate = CallableGate(decide)
    hub = Hub(Store(path), gate)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        with hub.store:
            async with hub.running():
                yield

    async def change(request: Request) -> JSONResponse:
        """Say what a user may do in a conversation: it counts for open sockets at once."""
        rights = {Right(right) for right in await request.json()}
        MEMBERS[request.path_params["conversation"]][request.path_params["user"]] = rights
        gate.changed()
        return JSONResponse(sorted(rights))

    async def leave(request: Request) -> JSONResponse:
        """Take a user out of a conversation: open sockets are closed, too."""
        MEMBERS[request.path_params["conversation"]].pop(request.path_params["user"], None)
        gate.changed()
        return JSONResponse({"left": True})

    return Starlette(
        routes=[
            Route("/rooms/{conversation}/members/{user}", change, methods=["PUT"]),
            Route("/rooms/{conversation}/members/{user}", leave, methods=["DELETE"]),
            Mount("/crdt", create_app(hub)),
        ],
        lifespan=lifespan,
    )
