"""
Both ends of one socket for one document, in the y-websocket dialect. Bytes in, bytes and events out.

Theory of operation. Each end asks with SyncStep1 and is answered with SyncStep2;
from then on updates flow as they come. The dialect has no acknowledgement: ours
is the echo. A server sends every update back to its sender too, as the same
bytes, once it is on disk. The client counts what it sent by these bytes, and
reports how far everything was echoed.

Before a client's diff has gone out there is nothing to send: the diff is computed
from the replica, which already holds every update made so far.

==================  =======================================================================
server session      what it does
==================  =======================================================================
open                SyncStep1, so that the client uploads; presence, if anybody is here
SyncStep1 comes     ``DiffRequested``: answer with ``diff``
SyncStep2, Update   ``UpdateReceived``; an empty update is nothing
awareness, query    ``AwarenessReceived``, ``AwarenessQueried``
==================  =======================================================================

==================  =======================================================================
client session      what it does
==================  =======================================================================
open                SyncStep1
SyncStep1 comes     ``DiffRequested``: answer with ``diff``, which is counted until its echo
SyncStep2 comes     ``UpdateReceived`` unless it is empty, then ``Synced``
Update comes        our own bytes: ``Acknowledged`` if the front moved; else ``UpdateReceived``
denied              ``Denied``
==================  =======================================================================
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from syncd.protocol.frames import (
    Awareness,
    Denied,
    QueryAwareness,
    SyncStep1,
    SyncStep2,
    Unknown,
    Update,
    decode_frames,
    encode_frame,
)

EMPTY_UPDATE = b"\x00\x00"


@dataclass(frozen=True, slots=True)
class DiffRequested:
    """The other end has this; send what it lacks."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class UpdateReceived:
    """An update that is not known to be ours."""

    update: bytes


@dataclass(frozen=True, slots=True)
class AwarenessReceived:
    """Presence, not decoded."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class AwarenessQueried:
    """The other end wants everybody's presence."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The other end has sent all that we lacked when we asked."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The other end has stored everything that was sent, up to this number of the sender's log."""

    upto: int


Event: TypeAlias = (
    DiffRequested | UpdateReceived | AwarenessReceived | AwarenessQueried | Synced | Acknowledged | Denied
)


class ServerSession:
    """The server's end."""

    def open(self, state_vector: bytes, presence: bytes | None = None) -> list[bytes]:
        """Return the frames that greet a client: our state vector, and who is here."""
        greeting = [encode_frame(SyncStep1(state_vector))]
        return greeting if presence is None else [*greeting, self.awareness(presence)]

    def receive(self, data: bytes) -> list[Event]:
        """
        Read one frame.

        Raises:
            MalformedFrame: It is none.
        """
        events: list[Event] = []
        for frame in decode_frames(data):
            match frame:
                case SyncStep1(state_vector):
                    events.append(DiffRequested(state_vector))
                case SyncStep2(update) | Update(update):
                    events.extend(_received(update))
                case Awareness(payload):
                    events.append(AwarenessReceived(payload))
                case QueryAwareness():
                    events.append(AwarenessQueried())
                case Denied() | Unknown():
                    pass
        return events

    def diff(self, update: bytes) -> bytes:
        """Return the frame that answers ``DiffRequested``."""
        return encode_frame(SyncStep2(update))

    def update(self, update: bytes) -> bytes:
        """Return the frame that relays an update, and acknowledges it to its sender."""
        return encode_frame(Update(update))

    def awareness(self, payload: bytes) -> bytes:
        """Return the frame that tells of presence."""
        return encode_frame(Awareness(payload))

    def denied(self, reason: str) -> bytes:
        """Return the frame that says why something was refused."""
        return encode_frame(Denied(reason))


class ClientSession:
    """The client's end."""

    def __init__(self) -> None:
        self._has_diffed = False
        self._is_synced = False
        self._unacknowledged: deque[_Sent] = deque()

    @property
    def is_in_sync(self) -> bool:
        """Whether both ends have had everything, and ours was stored."""
        return self._is_synced and self._has_diffed and not self._unacknowledged

    @property
    def unacknowledged(self) -> int:
        """How many frames wait for their echo."""
        return len(self._unacknowledged)

    def open(self, state_vector: bytes) -> bytes:
        """Return the frame that asks for what this replica lacks."""
        return encode_frame(SyncStep1(state_vector))

    def receive(self, data: bytes) -> list[Event]:
        """
        Read one frame.

        Raises:
            MalformedFrame: It is none.
        """
        events: list[Event] = []
        for frame in decode_frames(data):
            match frame:
                case SyncStep1(state_vector):
                    events.append(DiffRequested(state_vector))
                case SyncStep2(update):
                    self._is_synced = True
                    events.extend([*_received(update), Synced()])
                case Update(update):
                    events.extend(self._advance() if self._is_echo(update) else _received(update))
                case Awareness(payload):
                    events.append(AwarenessReceived(payload))
                case QueryAwareness():
                    events.append(AwarenessQueried())
                case Denied():
                    events.append(frame)
                case Unknown():
                    pass
        return events

    def diff(self, update: bytes, upto: int) -> tuple[bytes, list[Event]]:
        """
        Answer ``DiffRequested``.

        Args:
            update: What the other end lacks.
            upto: The last number of the log that the diff covers.

        Returns:
            The frame, and ``Acknowledged`` at once where there was nothing to send.
        """
        self._has_diffed = True
        self._unacknowledged.append(_Sent(update, upto, is_echoed=update == EMPTY_UPDATE))
        return encode_frame(SyncStep2(update)), self._advance()

    def update(self, update: bytes, upto: int) -> bytes | None:
        """
        Send an update that was made here.

        Args:
            update: The bytes whose echo will acknowledge it.
            upto: Its number in the log.

        Returns:
            The frame; nothing where the diff, still to come, will hold it.
        """
        if not self._has_diffed:
            return None
        self._unacknowledged.append(_Sent(update, upto))
        return encode_frame(Update(update))

    def _is_echo(self, update: bytes) -> bool:
        for sent in self._unacknowledged:
            if not sent.is_echoed and sent.update == update:
                sent.is_echoed = True
                return True
        return False

    def _advance(self) -> list[Event]:
        """Move the front behind everything that was echoed."""
        upto: int | None = None
        while self._unacknowledged and self._unacknowledged[0].is_echoed:
            upto = self._unacknowledged.popleft().upto
        return [] if upto is None else [Acknowledged(upto)]


@dataclass(slots=True)
class _Sent:
    update: bytes
    upto: int
    is_echoed: bool = False


def _received(update: bytes) -> list[Event]:
    return [] if update == EMPTY_UPDATE else [UpdateReceived(update)]
