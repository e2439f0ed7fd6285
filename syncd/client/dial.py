"""A WebSocket that we open, with the face of one that was accepted: the same wire carries both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ssl import SSLCertVerificationError
from typing import Any, Final

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from syncd.errors import SyncTimeout

MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
ABNORMAL: Final = 1006
CLOSE_S: Final = 1.0
"""So long the other end may take to close, too."""
UNREACHED: Final = (OSError, TimeoutError, InvalidHandshake, InvalidURI)
"""What there is instead of a connection."""


class Dialled:
    """A WebSocket that was opened from here; see ``syncd.sockets.wire.Asgi``."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.reason = ""

    async def receive(self) -> Any:
        """Return what comes, as an ASGI event."""
        try:
            data = await self._connection.recv()
        except ConnectionClosed as closed:
            received = closed.rcvd
            self.reason = received.reason if received is not None else "the connection broke"
            return {
                "type": "websocket.disconnect",
                "code": received.code if received is not None else ABNORMAL,
            }
        return {"type": "websocket.receive", "bytes": data if isinstance(data, bytes) else None}

    async def send_bytes(self, data: bytes) -> None:
        """Send; raises ``RuntimeError`` when the other end is gone."""
        try:
            await self._connection.send(data)
        except ConnectionClosed as closed:
            raise RuntimeError("the other end is gone") from closed

    async def close(self, code: int, reason: str) -> None:
        """Close."""
        await self._connection.close(code, reason)


def socket_url(url: str) -> str:
    """Return where a daemon's socket for many documents is."""
    return f"{url.rstrip('/').replace('http://', 'ws://', 1).replace('https://', 'wss://', 1)}/collab"


def reason_of(error: BaseException) -> str:
    """Return why there is no connection."""
    if words := distrust(error):
        return words
    # An OSError's text can hold the address, which the reader knows; never the token.
    return error.strerror or "no connection" if isinstance(error, OSError) else type(error).__name__


def distrust(error: BaseException) -> str:
    """Return what to do where a certificate that nobody here vouches for is behind an error, else nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message}): SSL_CERT_FILE=FILE trusts one"
        cause = cause.__cause__ or cause.__context__
    return ""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ClientConnection]:
    """
    Open a socket to a daemon, and close it in order, also where its user is cancelled.

    Raises:
        OSError: It was not reached; or another of ``UNREACHED``.
    """
    connection = await connect(socket_url(url), max_size=MAX_FRAME_BYTES, compression=None)
    try:
        yield connection
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await connection.close()
        connection.transport.abort()


@asynccontextmanager
async def dialled(url: str) -> AsyncIterator[Dialled]:
    """
    Open a socket to a daemon.

    Raises:
        SyncTimeout: It was not reached.
    """
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(opened(url))
        except UNREACHED as error:
            raise SyncTimeout(reason_of(error)) from error
        yield Dialled(connection)
