"""
One conversation kept in sync with one server.

The local store is the outbox: what is written here stands in its log, and ``acknowledge`` moves the
mark behind which a server has not said that it stored it. So nothing needs to be kept for a reconnect
but the replica itself: the state vectors say what is missing on either side.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import anyio

from crdt_conv import Change, Conversation
from syncd.errors import SyncRefused
from syncd.protocol import Acknowledged, CloseCode, DiffRequested, UpdateReceived
from syncd.protocol.hocuspocus.client import (
    Admitted,
    Closed,
    Denied,
    DocumentSession,
    Event,
    Refused,
)
from syncd.protocol.hocuspocus.codec import Body, TokenWanted

logger = logging.getLogger("syncd.client")

State: TypeAlias = Literal["offline", "syncing", "in sync", "read-only", "refused"]


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """How a conversation stands towards a server; ``waiting`` counts updates it has not stored yet."""

    state: State
    waiting: int
    error: str = ""

    def __str__(self) -> str:
        waiting = f", {self.waiting} waiting" if self.waiting else ""
        return f"{self.state}{waiting}{': ' + self.error if self.error else ''}"


class Line:
    """What a link needs of the socket that it shares with others."""

    def __init__(
        self, send: Callable[[bytes], None], come_back: Callable[[str], None], token: Callable[[], str]
    ) -> None:
        """
        Name what a link may do.

        Args:
            send: Queues a frame.
            come_back: Ends the socket, to connect again later; takes the reason.
            token: Returns who we are.
        """
        self.send = send
        self.come_back = come_back
        self.token = token


class Link:
    """Keeps one conversation in sync, through any number of sockets."""

    def __init__(
        self, conversation: Conversation, peer: str, on_change: Callable[[], None] = lambda: None
    ) -> None:
        """
        Keep a conversation in sync from when a socket is there.

        Args:
            conversation: Its store keeps what waits.
            peer: What the other end is called in the store.
            on_change: Called when the status may have changed.
        """
        self.conversation = conversation
        self._tell = on_change
        self._peer = peer
        self._state: State = "offline"
        self._error = ""
        self._refused: SyncRefused | None = None
        self._is_read_only = False
        self._changed = anyio.Event()
        self._session: DocumentSession | None = None
        self._line: Line | None = None
        self._unsubscribe = conversation.subscribe(self._on_change)

    @property
    def status(self) -> LinkStatus:
        """How it stands now."""
        return LinkStatus(self._state, self.conversation.waiting(self._peer), self._error)

    @property
    def is_refused(self) -> bool:
        """Whether the server said no for good."""
        return self._refused is not None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way on this socket."""
        session = self._session
        return self.is_refused or (session is not None and (session.is_in_sync or session.is_refused))

    async def changed(self) -> None:
        """Wait until the status may have changed."""
        await self._changed.wait()

    async def in_sync(self) -> None:
        """
        Wait until both sides have everything.

        Raises:
            SyncRefused: The server said no for good, or takes no updates from us while some wait.
        """
        while self._state != "in sync":
            if self._refused is not None:
                raise self._refused
            if self._state == "read-only":
                raise SyncRefused(self._error, CloseCode.FORBIDDEN)
            await self._changed.wait()

    def _set(self, state: State, error: str = "") -> None:
        if (state, error) != (self._state, self._error):
            self._state, self._error = state, error
            self._changed.set()
            self._changed = anyio.Event()
            self._tell()

    def close(self) -> None:
        """Follow the conversation no longer."""
        if self._session is not None and self._line is not None:
            self._line.send(self._session.close())
        self._session = self._line = None
        self._unsubscribe()

    # One socket

    def begin(self, line: Line) -> None:
        """Ask to be let in, on a socket that is open."""
        if self.is_refused:
            return
        self._line = line
        self._session = DocumentSession(self.conversation.id)
        self._set("syncing")
        for frame in self._session.open(line.token(), self.conversation.state_vector):
            line.send(frame)

    def end(self, reason: str) -> None:
        """Hear that the socket is gone."""
        self._session = self._line = None
        if not self.is_refused:
            self._set("offline", reason)

    def refuse(self, reason: str, code: int) -> None:
        """Hear that the server said no for good."""
        self._session = self._line = None
        self._refused = SyncRefused(reason, code)
        self._set("refused", reason)

    def receive(self, body: Body) -> None:
        """
        Take what the server says about this conversation.

        Raises:
            MalformedUpdate: It sent what is no update.
        """
        session, line = self._session, self._line
        if session is not None and line is not None:
            for event in session.receive(body):
                self._handle(session, line, event)
            self._settle()

    def _handle(self, session: DocumentSession, line: Line, event: Event) -> None:
        conversation = self.conversation
        match event:
            case DiffRequested(state_vector):
                line.send(session.diff(conversation.encode(state_vector), conversation.last_seq))
            case UpdateReceived(update):
                conversation.receive(update, self._peer)
            case Acknowledged(upto):
                conversation.acknowledge(self._peer, upto)
                self._tell()
            case Admitted(is_read_only):
                self._admitted(session, line, is_read_only=is_read_only)
            case TokenWanted():
                line.send(session.token(line.token()))
            case Refused(refusal):
                logger.warning("conversation %s: the server refused: %s", conversation.id, refusal.reason)
                self._set("read-only" if self._is_read_only else "offline", refusal.reason)
            case Denied(reason):
                self.refuse(reason, CloseCode.FORBIDDEN)
            case Closed(reason, is_final=True):
                self.refuse(reason, CloseCode.DELETED)
            case Closed(reason):
                line.come_back(reason)

    def _admitted(self, session: DocumentSession, line: Line, *, is_read_only: bool) -> None:
        self._is_read_only = is_read_only
        if session.is_refused and not is_read_only:
            # What was refused goes out with the diff of a new socket: on this one, answers to
            # frames from before would be taken for answers to it.
            line.come_back("the server takes updates again")

    def _on_change(self, change: Change) -> None:
        session, line = self._session, self._line
        if session is not None and line is not None and change.origin != self._peer:
            frame = session.update(change.update, change.seq)
            if frame is not None:
                line.send(frame)
            self._settle()
        # What waits was counted anew.
        self._tell()

    def _settle(self) -> None:
        session = self._session
        # Who was refused reads on, and stays what it was told it is.
        if session is not None and not session.is_refused:
            self._set("in sync" if session.is_in_sync else "syncing")
