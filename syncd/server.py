"""
Uvicorn, set up for many sockets that stay, and for strangers that never say who they are.

A connection that has not sent a whole request in ``limits.unauthenticated_s`` is ended, be it the first
or a later one; when there are too many of them, the oldest goes first.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from syncd.api import end_streams
from syncd.errors import StartError
from syncd.limits import Limits
from syncd.sockets.strangers import Strangers
from syncd.sockets.wire import WireProtocol

DRAIN_S = 5
"""How long requests that are being answered may take when the server ends."""


class Server(uvicorn.Server):
    """Uvicorn that leaves signals to us: its own handling ends the process before the executor is done."""

    def __init__(self, app: Starlette, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        """
        Make a server that does not listen.

        Args:
            app: The application; its streams end with the server.
            limits: How large a message may be, and how long a stranger may wait.
            tls: What to encrypt with; nothing, where it is left out.
        """
        self.app = app
        super().__init__(
            uvicorn.Config(
                app,
                http=_patient(limits),
                ws=WireProtocol,
                ws_max_size=limits.frame_bytes,
                ws_per_message_deflate=False,
                ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
                lifespan="off",
                # No log line of a server's own ever holds a query string with a token. What goes wrong in
                # it takes the way of all lines, through ``syncd.logs.events``, and not one of uvicorn's own.
                access_log=False,
                log_config=None,
                log_level="error",
                timeout_graceful_shutdown=DRAIN_S,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve a socket that listens."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.serve, [listener])
            try:
                # Uvicorn says so by a flag, not by an event.
                while not self.started:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                yield
            finally:
                # Streams of events have no end of their own.
                end_streams(self.app)
                self.should_exit = True


def load_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """
    Return what to encrypt with.

    Args:
        certificate: A PEM file with the certificate and those above it.
        key: A PEM file with its private key, without a password.

    Raises:
        StartError: A file can't be read, or they don't belong together.
    """
    _read_pem(certificate, "CERTIFICATE", "certificate")
    if "ENCRYPTED" in _read_pem(key, "PRIVATE KEY", "private key"):
        raise StartError(
            f"the key in {key} has a password, which nobody is here to give: openssl pkey removes it"
        )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Never a question on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartError(f"the key is not that of the certificate: {key}, {certificate}") from error
        raise StartError(f"can't encrypt with {certificate} and {key}: {error.reason or error}") from error
    return context


def _read_pem(file: Path, label: str, what: str) -> str:
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        raise StartError(f"can't read {file}: {error.strerror}") from error
    if f"{label}-----" not in text:
        raise StartError(f"{file} holds no {what} in PEM form")
    return text


class PatientProtocol(H11Protocol):
    """Uvicorn's HTTP protocol with an end to its patience."""

    strangers: Strangers

    def connection_made(self, transport: Any) -> None:
        """Expect a request."""
        super().connection_made(transport)
        self.strangers.expect(self)

    def give_up(self) -> None:
        """End the connection: no request came."""
        self.transport.abort()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand the connection on."""
        self.strangers.forget(self)
        super().handle_websocket_upgrade(event)

    def data_received(self, data: bytes) -> None:
        """Read on, and expect the rest where no request is being answered."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.strangers.forget(self)
        elif self not in self.strangers and self.transport.get_protocol() is self:
            # Behind an answer: uvicorn's own time limit ends with the first byte, and it begins no other.
            self.strangers.expect(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.strangers.forget(self)
        super().connection_lost(exc)


def _patient(limits: Limits) -> type[H11Protocol]:
    class Patient(PatientProtocol):
        strangers = Strangers(limits)

    return Patient
