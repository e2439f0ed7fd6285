"""Credentials out of a request."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from syncd.auth.access import Credentials


def credentials_of(connection: HTTPConnection) -> Credentials:
    """Return what a request shows: ``Authorization: Bearer``, or ``?token=`` where it is a WebSocket."""
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    token = given.strip() if scheme.lower() == "bearer" else None
    if token is None and connection.scope["type"] == "websocket":
        token = connection.query_params.get("token")
    client = connection.client
    return Credentials(token, dict(connection.headers), client.host if client is not None else "")
