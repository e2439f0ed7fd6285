"""
The ASGI application: routes around the hub.

It starts no server, so that a chat backend can mount it beside its own routes;
whoever serves it keeps ``hub.running()`` open meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from crdt_conv import CrdtConvError
from syncd import api
from syncd.answering import Answering
from syncd.auth import AccessDenied
from syncd.auth.http import credentials_of
from syncd.auth.web import Guard
from syncd.hub import Hub
from syncd.metrics import CONTENT_TYPE, exposition
from syncd.peers import Peer
from syncd.sockets import collab
from syncd.sockets.connection import Connection
from syncd.sockets.solo import SoloMember, SoloReader
from syncd.sockets.wire import wire_of
from syncd.webclient import BUILT, WebClient


def create_app(
    hub: Hub,
    *,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    answering: Answering | None = None,
    peers: Sequence[Peer] = (),
    web: Path | None = BUILT,
) -> Starlette:
    """
    Make the application.

    Args:
        hub: What it serves; its gate decides who gets in.
        hosts: Names under which it may be asked for, besides loopback and addresses; ``*`` for all.
        origins: Origins of pages that may connect, besides its own; ``*`` for all.
        answering: Its models, where it has any: the default of runs, and what explains requests.
        peers: Other daemons that the hub syncs with, for the metrics.
        web: The web client's built files, served at ``/``; nothing for none of it.
    """
    app = Starlette(
        middleware=[Middleware(Guard, hosts=hosts, origins=origins)],
        routes=[
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
            Route("/metrics", _metrics),
            *api.routes(),
            WebSocketRoute("/sync/{conversation:path}", _sync),
            WebSocketRoute("/collab", collab.endpoint),
            # The last: it takes whatever is left.
            Route("/", _root) if web is None else Mount("/", WebClient(web)),
        ],
        exception_handlers={HTTPException: api.http_exception},
    )
    app.state.hub = hub
    app.state.gate = hub.gate
    app.state.answering = answering
    app.state.peers = tuple(peers)
    return app


async def _root(_request: Request) -> Response:
    return PlainTextResponse("crdt-conv: Yjs clients connect to /sync/<conversation>?token=<token>\n")


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _readyz(request: Request) -> Response:
    hub: Hub = request.app.state.hub
    reason = await hub.why_not_ready()
    return PlainTextResponse(f"{reason or 'ready'}\n", status_code=503 if reason else 200)


async def _metrics(request: Request) -> Response:
    hub: Hub = request.app.state.hub
    credentials = credentials_of(request)
    try:
        await hub.gate.admit(credentials, None)
    except AccessDenied as denied:
        Connection("metrics", credentials.client, shared=hub.quotas).denied(None, denied)
        headers = {"WWW-Authenticate": "Bearer"}
        return PlainTextResponse(f"{denied.reason}\n", status_code=401, headers=headers)
    peers: Sequence[Peer] = request.app.state.peers
    # Counted in the store, beside the event loop.
    waiting = {peer: await anyio.to_thread.run_sync(peer.waiting) for peer in peers}
    return Response(exposition(hub, waiting), media_type=CONTENT_TYPE)


async def _sync(websocket: WebSocket) -> None:
    # Accepted before it is refused: a browser sees a close code, but no HTTP status.
    await websocket.accept()
    hub: Hub = websocket.app.state.hub
    conversation, credentials = websocket.path_params["conversation"], credentials_of(websocket)
    connection = Connection("sync", credentials.client, shared=hub.quotas)
    try:
        grant = await hub.admissions.admit(credentials, conversation)
        room = hub.rooms.open(conversation)
    except AccessDenied as denied:
        connection.denied(conversation, denied)
        await websocket.close(denied.code, denied.reason)
        return
    except CrdtConvError as error:
        refusal, reason = collab.close_for(error)
        connection.turned_away(conversation, refusal, error)
        await websocket.close(refusal, reason)
        return
    wire = wire_of(websocket)
    socket = hub.open_socket(wire, connection)
    connection.opened(conversation, grant.subject)
    member = SoloMember(socket, room, grant)
    hub.admissions.add(member, credentials)
    room.enter(member)
    room.welcome(member)
    await wire.run(SoloReader(hub, member))
