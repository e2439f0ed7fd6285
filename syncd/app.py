"""
The ASGI application: routes and tokens around the rooms.

It starts no server, so that a chat backend can mount it beside its own routes;
whoever serves it keeps ``hub.running()`` open meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from crdt_conv import InvalidMessage, Store, StoreError
from syncd import api
from syncd.auth import is_token
from syncd.commits import GroupCommit
from syncd.protocol import CloseCode
from syncd.rooms import Rooms
from syncd.socket import Socket

SWEEP_S = 5.0
"""How often presence expires and empty rooms are closed."""


class Hub:
    """The rooms of one store, and the queue in front of its log."""

    def __init__(self, store: Store, *, sweep_s: float = SWEEP_S) -> None:
        self.store = store
        self.commits = GroupCommit(store.append_many)
        self.rooms = Rooms(store, self.commits)
        self.is_running = False
        self._sweep_s = sweep_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Commit and sweep; when this ends, everything that was queued is on disk."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sweep)
            async with anyio.create_task_group() as committing:
                committing.start_soon(self.commits.run)
                self.is_running = True
                try:
                    yield
                finally:
                    self.is_running = False
                    self.commits.close()
            tasks.cancel_scope.cancel()

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(self._sweep_s)
            self.rooms.sweep(time.monotonic())
            # Derived: who reads or searches beside us finds it, and after a crash less is made anew.
            with suppress(StoreError):
                self.store.flush()


def create_app(hub: Hub, token: str) -> Starlette:
    """
    Make the application.

    Args:
        hub: The rooms it serves.
        token: What clients must show: ``?token=`` on sockets, ``Authorization: Bearer`` elsewhere.
    """
    app = Starlette(
        routes=[
            Route("/", _root),
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
            *api.routes(),
            WebSocketRoute("/sync/{conversation:path}", _sync),
        ]
    )
    app.state.hub = hub
    app.state.token = token
    return app


async def _root(_request: Request) -> Response:
    return PlainTextResponse("crdt-conv: Yjs clients connect to /sync/<conversation>?token=<token>\n")


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _readyz(request: Request) -> Response:
    is_ready = request.app.state.hub.is_running
    return PlainTextResponse("ready\n" if is_ready else "starting\n", status_code=200 if is_ready else 503)


async def _sync(websocket: WebSocket) -> None:
    # Accepted before it is refused: a browser sees a close code, but no HTTP status.
    await websocket.accept()
    state = websocket.app.state
    if not is_token(state.token, websocket.query_params.get("token")):
        await websocket.close(CloseCode.UNAUTHORIZED, "a valid token is needed: ?token=")
        return
    rooms: Rooms = state.hub.rooms
    socket = Socket(websocket)
    try:
        room = rooms.enter(websocket.path_params["conversation"], socket)
    except InvalidMessage as error:
        await websocket.close(CloseCode.BAD_FRAME, str(error))
        return
    except StoreError:
        await websocket.close(CloseCode.INTERNAL_ERROR, "the conversation can't be read now")
        return
    try:
        await socket.run(room)
    finally:
        room.leave(socket)
