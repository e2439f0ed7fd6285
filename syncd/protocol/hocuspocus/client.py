"""
The client's end of one document in the Hocuspocus dialect. Bytes in, bytes and events out.

A client asks to be let in and asks what it lacks in one breath (``open``). Once the server has asked
back and our diff has gone out, updates follow as they are made; before that there is nothing to send,
since the diff is computed from the replica, which holds them all. Every frame with an update is
answered, in order: it is stored, or refused. The caller numbers what it sends with the positions of
its log, and is told how far everything before was stored.

==================  ==========================================================================
comes               event
==================  ==========================================================================
Authenticated       ``Admitted``
PermissionDenied    ``Denied``: for good
token wanted        ``TokenWanted``: send ``token``
SyncStep1           ``DiffRequested``: send ``diff``
SyncStep2           ``UpdateReceived`` unless empty, ``Synced``
Update              ``UpdateReceived`` unless empty
SyncStatus          ``Acknowledged``, if the front moves; or ``Refused``
Close               ``Closed``, with the refusal that was told before it
Stateless           nothing by itself: a refusal is kept for what follows it
==================  ==========================================================================
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from syncd.protocol.events import Acknowledged, DiffRequested, Synced, UpdateReceived
from syncd.protocol.hocuspocus.codec import (
    Authenticated,
    Body,
    Close,
    PermissionDenied,
    Stateless,
    Sync,
    SyncStatus,
    Token,
    TokenWanted,
    encode,
)
from syncd.protocol.refusals import Refusal, Status, parse_refusal
from syncd.protocol.ysync import EMPTY_UPDATE, SyncMessage, SyncStep1, SyncStep2, Update

VERSION = "crdt-conv"
"""What we say where stock providers say their version: only who says one is pinged."""
PEER_VERSION = "crdt-conv peer"
"""What another daemon says: of its updates only news are taken, and it is told of no presence."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The server lets us in, perhaps only to read."""

    is_read_only: bool


@dataclass(frozen=True, slots=True)
class Denied:
    """The server does not let us in."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The server does not take an update; what waits stays in the log."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Closed:
    """The server has done with this document; ``is_final`` where coming back is of no use."""

    reason: str
    is_final: bool


Event: TypeAlias = (
    Admitted
    | Denied
    | TokenWanted
    | DiffRequested
    | UpdateReceived
    | Synced
    | Acknowledged
    | Refused
    | Closed
)


class DocumentSession:
    """One document on one socket, from the client's side; lives as long as the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._has_diffed = False
        self._is_synced = False
        self.is_refused = False
        self._told: Refusal | None = None
        self._unanswered: deque[int] = deque()

    @property
    def is_in_sync(self) -> bool:
        """Whether both ends have had everything, and ours was stored."""
        return self._is_synced and self._has_diffed and not self._unanswered and not self.is_refused

    @property
    def unanswered(self) -> int:
        """How many frames wait to be stored."""
        return len(self._unanswered)

    # Out

    def open(self, token: str, state_vector: bytes) -> list[bytes]:
        """Return the frames that begin: who we are, and what we have."""
        return [self.token(token), self._encode(Sync(SyncStep1(state_vector)))]

    def close(self) -> bytes:
        """Return the frame that ends this document; the others on the socket go on."""
        return self._encode(Close())

    def token(self, token: str) -> bytes:
        """Return the frame that says who we are."""
        return self._encode(Token(token, VERSION))

    def diff(self, update: bytes, upto: int) -> bytes:
        """
        Answer ``DiffRequested``.

        Args:
            update: What the server lacks.
            upto: The last position of the log that it covers.
        """
        self._has_diffed = True
        return self._send(SyncStep2(update), upto)

    def update(self, update: bytes, upto: int) -> bytes | None:
        """
        Send an update that was made here.

        Args:
            update: The update.
            upto: Its position in the log.

        Returns:
            The frame; nothing where the diff, still to come, will hold it, or the server takes nothing.
        """
        if not self._has_diffed or self.is_refused or update == EMPTY_UPDATE:
            return None
        return self._send(Update(update), upto)

    def _send(self, message: SyncMessage, upto: int) -> bytes:
        self._unanswered.append(upto)
        return self._encode(Sync(message))

    def _encode(self, body: Body) -> bytes:
        return encode(self.address, body, is_server=False)

    # In

    def receive(self, body: Body) -> list[Event]:
        """Take what the server says about this document."""
        match body:
            case Sync(message):
                return self._on_sync(message)
            case SyncStatus(is_stored):
                return self._on_status(is_stored=is_stored)
            case Stateless(text):
                self._told = parse_refusal(text) or self._told
            case Authenticated(is_read_only):
                return [Admitted(is_read_only)]
            case PermissionDenied(reason):
                return [Denied(reason)]
            case TokenWanted():
                return [body]
            case Close(reason):
                told = self._told
                is_final = told is not None and told.status is Status.EVICTED
                return [Closed(told.reason if told is not None else reason, is_final)]
        return []

    def _on_sync(self, message: SyncMessage) -> list[Event]:
        match message:
            case SyncStep1(state_vector):
                return [DiffRequested(state_vector)]
            case SyncStep2(update):
                self._is_synced = True
                return [*_received(update, is_diff=True), Synced()]
            case Update(update):
                return _received(update, is_diff=False)

    def _on_status(self, *, is_stored: bool) -> list[Event]:
        if not self._unanswered:
            return []
        upto = self._unanswered.popleft()
        if not is_stored:
            # From here on nothing counts as stored: an update behind it may need it.
            self.is_refused = True
            refusal, self._told = self._told, None
            return [
                Refused(refusal or Refusal(Status.PERMISSION_DENIED, "the server takes no updates from us"))
            ]
        return [] if self.is_refused else [Acknowledged(upto)]


def _received(update: bytes, *, is_diff: bool) -> list[Event]:
    return [] if update == EMPTY_UPDATE else [UpdateReceived(update, is_diff=is_diff)]
