"""
One conversation kept in sync with one server, over one socket at a time.

The local store is the outbox: what is written here stands in its log, and
``acknowledge`` moves the mark behind which a server has not said that it stored
it. So nothing needs to be kept for a reconnect but the replica itself: the
state vectors say what is missing on either side.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import quote, urlencode

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from crdt_conv import Change, Conversation, MalformedUpdate
from syncd.errors import SyncRefused
from syncd.protocol import (
    Acknowledged,
    ClientSession,
    Denied,
    DiffRequested,
    Event,
    RemoteProtocolError,
    Synced,
    UpdateReceived,
    is_final,
)

logger = logging.getLogger("syncd.client")

State: TypeAlias = Literal["offline", "syncing", "in sync", "refused"]

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 20.0
_MAX_FRAME_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """How a conversation stands towards a server; ``waiting`` counts updates it has not stored yet."""

    state: State
    waiting: int
    error: str = ""

    def __str__(self) -> str:
        waiting = f", {self.waiting} waiting" if self.waiting else ""
        return f"{self.state}{waiting}{': ' + self.error if self.error else ''}"


class Link:
    """Keeps one conversation in sync until cancelled, through any number of sockets."""

    def __init__(self, conversation: Conversation, url: str, token: str | None) -> None:
        self.conversation = conversation
        self._peer = url
        self._url = _socket_url(url, conversation.id, token)
        self._state: State = "offline"
        self._error = ""
        self._refused: SyncRefused | None = None
        self._changed = anyio.Event()
        self._session: ClientSession | None = None
        self._was_in_sync = False
        self._outgoing: list[bytes] = []
        self._wake = anyio.Event()

    @property
    def status(self) -> LinkStatus:
        """How it stands now."""
        return LinkStatus(self._state, self.conversation.waiting(self._peer), self._error)

    async def changed(self) -> None:
        """Wait until the status may have changed."""
        await self._changed.wait()

    async def in_sync(self) -> None:
        """
        Wait until both sides have everything.

        Raises:
            SyncRefused: The server said no for good.
        """
        while self._state != "in sync":
            if self._refused is not None:
                raise self._refused
            await self._changed.wait()

    def _set(self, state: State, error: str = "") -> None:
        self._state, self._error = state, error
        self._changed.set()
        self._changed = anyio.Event()

    # Connections

    async def run(self) -> None:
        """Connect, exchange, come back after a break; ends only when refused for good, or cancelled."""
        unsubscribe = self.conversation.subscribe(self._on_change)
        delay_s = FIRST_DELAY_S
        try:
            while self._refused is None:
                delay_s = FIRST_DELAY_S if await self._connect_once() else min(delay_s * 2, LONGEST_DELAY_S)
                if self._refused is None:
                    # Jitter: a thousand clients of a server that restarts must not come back as one.
                    await anyio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        finally:
            unsubscribe()

    async def _connect_once(self) -> bool:
        """Run one socket to its end; returns whether it ever came to be in sync."""
        self._was_in_sync = False
        try:
            async with connect(self._url, max_size=_MAX_FRAME_BYTES, compression=None) as socket:
                self._set("syncing")
                await self._exchange(socket)
        except* ConnectionClosed as closed:
            self._on_closed(_first(closed))
        except* (OSError, TimeoutError, InvalidHandshake, InvalidURI) as failed:
            self._set("offline", _reason(_first(failed)))
        except* (RemoteProtocolError, MalformedUpdate) as unreadable:
            self._set("offline", f"the server sent what can't be read ({_first(unreadable)})")
        self._session = None
        return self._was_in_sync

    def _on_closed(self, error: BaseException) -> None:
        received = error.rcvd if isinstance(error, ConnectionClosed) else None
        if received is not None and is_final(received.code):
            self._refused = SyncRefused(received.reason or f"closed with {received.code}", received.code)
            self._set("refused", str(self._refused))
        else:
            self._set("offline", received.reason if received is not None else "the connection broke")

    async def _exchange(self, socket: ClientConnection) -> None:
        session = self._session = ClientSession()
        self._outgoing = [session.open(self.conversation.state_vector)]
        self._wake.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write, socket)
            async for data in socket:
                if isinstance(data, bytes):
                    for event in session.receive(data):
                        self._handle(session, event)
            # The iteration ends quietly on a normal close; the writer must not outlive it.
            tasks.cancel_scope.cancel()
        self._set("offline")

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            frames, self._outgoing = self._outgoing, []
            for frame in frames:
                await socket.send(frame)
            if not self._outgoing:
                self._wake = anyio.Event()
                await self._wake.wait()

    def _queue(self, frame: bytes | None) -> None:
        if frame is not None:
            self._outgoing.append(frame)
            self._wake.set()

    # What happens on either side

    def _handle(self, session: ClientSession, event: Event) -> None:
        conversation = self.conversation
        match event:
            case DiffRequested(state_vector):
                frame, events = session.diff(conversation.encode(state_vector), conversation.last_seq)
                self._queue(frame)
                for following in events:
                    self._handle(session, following)
            case UpdateReceived(update):
                conversation.receive(update, self._peer)
            case Acknowledged(upto):
                conversation.acknowledge(self._peer, upto)
            case Denied(reason):
                logger.warning("conversation %s: the server says: %s", conversation.id, reason)
            case Synced():
                pass
        self._settle(session)

    def _on_change(self, change: Change) -> None:
        session = self._session
        if session is not None and change.origin != self._peer:
            self._queue(session.update(change.update, change.seq))
            self._settle(session)

    def _settle(self, session: ClientSession) -> None:
        # Only this ends the backoff: a server may let everybody in, and close at once.
        self._was_in_sync = self._was_in_sync or session.is_in_sync
        state: State = "in sync" if session.is_in_sync else "syncing"
        if state != self._state:
            self._set(state)


def _socket_url(url: str, conversation: str, token: str | None) -> str:
    base = url.rstrip("/").replace("http://", "ws://", 1).replace("https://", "wss://", 1)
    query = f"?{urlencode({'token': token})}" if token else ""
    return f"{base}/sync/{quote(conversation, safe='')}{query}"


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: BaseException) -> str:
    # An OSError's text can hold the address, which the reader knows; never the token.
    return error.strerror or "no connection" if isinstance(error, OSError) else type(error).__name__
