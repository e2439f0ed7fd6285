"""
Both ends of one socket for one document, in the y-websocket dialect. Bytes in, bytes and events out.

Theory of operation. Each end asks with SyncStep1 and is answered with SyncStep2;
from then on updates flow as they come. The dialect has no acknowledgement: ours
is the echo. A server sends every update back to its sender too, as the same
bytes in an Update, once it is on disk. The client knows its own bytes again, in
whatever order they come, and reports how far everything before was echoed.

The client numbers what it sends with the positions of its log. Equal bytes are
the same operations, so it does not matter whose copy of them was stored: any
one echo is good for one of them.

An empty update changes nothing: nobody stores it, so nobody echoes it. As a diff
it is sent, since it ends the handshake, and counts as echoed at once.

A server's session remembers nothing:

==================  =======================================================================
comes               event, and what the caller does
==================  =======================================================================
SyncStep1           ``DiffRequested``: send ``diff``
SyncStep2, Update   ``UpdateReceived``: send ``update`` to everybody, its sender too, once it
                    is on disk; empty: nothing
Awareness           ``AwarenessReceived``: send ``awareness`` to everybody, its sender too
QueryAwareness      ``AwarenessQueried``: send ``awareness``
Denied, unknown     nothing
==================  =======================================================================

A client's session knows whether its diff has gone out, and what waits for its echo.
Until the diff has gone out there is nothing to send: the diff is computed from the
replica, which already holds every update made so far.

==================  ==============================  ======================================
happens             before our diff                 after it
==================  ==============================  ======================================
``diff``            SyncStep2; waits unless empty   SyncStep2; waits unless empty
``update``          nothing: the diff holds it      Update; waits
SyncStep1 comes     ``DiffRequested``               ``DiffRequested``
SyncStep2 comes     ``UpdateReceived``, ``Synced``  ``UpdateReceived``, ``Synced``
an echo comes       can't be                        ``Acknowledged``, if the front moves
an Update comes     ``UpdateReceived``              ``UpdateReceived``
==================  ==============================  ======================================

A session lives as long as its socket. What a lost socket leaves unacknowledged
needs no memory here: the next session's diff holds it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from syncd.protocol.events import (
    Acknowledged,
    AwarenessQueried,
    AwarenessReceived,
    DiffRequested,
    Event,
    Synced,
    UpdateReceived,
)
from syncd.protocol.frames import (
    Awareness,
    Denied,
    Frame,
    QueryAwareness,
    Unknown,
    decode_frames,
    encode_frame,
)
from syncd.protocol.ysync import EMPTY_UPDATE, SyncStep1, SyncStep2, Update


class ServerSession:
    """The server's end."""

    def open(self, state_vector: bytes, presence: bytes | None = None) -> list[bytes]:
        """
        Return the frames that greet a client.

        Args:
            state_vector: What the server has; stock clients upload only when asked.
            presence: An awareness payload, if anybody is here.
        """
        greeting = [encode_frame(SyncStep1(state_vector))]
        return greeting if presence is None else [*greeting, self.awareness(presence)]

    def receive(self, data: bytes) -> list[Event]:
        """
        Read one frame.

        Raises:
            MalformedFrame: It is none.
        """
        return [event for frame in decode_frames(data) for event in _told(frame)]

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
        # In the order they were sent; those in the middle may be echoed already.
        self._unacknowledged: deque[_Sent] = deque()
        # By their bytes: what others wrote must not be compared with everything that waits.
        self._waiting: dict[bytes, deque[_Sent]] = {}

    @property
    def is_in_sync(self) -> bool:
        """Whether both ends have had everything, and ours was stored."""
        return self._is_synced and self._has_diffed and not self._unacknowledged

    @property
    def unacknowledged(self) -> int:
        """How many frames wait for their echo, or for that of an earlier one."""
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
        return [event for frame in decode_frames(data) for event in self._on(frame)]

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
        self._wait(_Sent(update, upto, is_echoed=update == EMPTY_UPDATE))
        return encode_frame(SyncStep2(update)), self._advance()

    def update(self, update: bytes, upto: int) -> bytes | None:
        """
        Send an update that was made here.

        Args:
            update: The bytes whose echo will acknowledge it.
            upto: Its number in the log.

        Returns:
            The frame; nothing where the update is empty, or the diff, still to come, will hold it.
        """
        if not self._has_diffed or update == EMPTY_UPDATE:
            return None
        self._wait(_Sent(update, upto))
        return encode_frame(Update(update))

    def _on(self, frame: Frame) -> list[Event]:
        match frame:
            case SyncStep2():
                self._is_synced = True
                return [*_told(frame), Synced()]
            case Update(update):
                return self._advance() if self._take_echo(update) else _told(frame)
            case Denied():
                return [frame]
            case _:
                return _told(frame)

    def _wait(self, sent: _Sent) -> None:
        self._unacknowledged.append(sent)
        if not sent.is_echoed:
            self._waiting.setdefault(sent.update, deque()).append(sent)

    def _take_echo(self, update: bytes) -> bool:
        waiting = self._waiting.get(update)
        if waiting is None:
            return False
        waiting.popleft().is_echoed = True
        if not waiting:
            del self._waiting[update]
        return True

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


def _told(frame: Frame) -> list[Event]:
    """Return the event of a frame that means the same to both ends."""
    match frame:
        case SyncStep1(state_vector):
            return [DiffRequested(state_vector)]
        case SyncStep2(update) | Update(update) if update != EMPTY_UPDATE:
            return [UpdateReceived(update, is_diff=isinstance(frame, SyncStep2))]
        case Awareness(payload):
            return [AwarenessReceived(payload)]
        case QueryAwareness():
            return [AwarenessQueried()]
        case SyncStep2() | Update() | Denied() | Unknown():
            return []
