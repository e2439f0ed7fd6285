"""
The server's end of one socket in the Hocuspocus dialect. Bytes in, events out.

Clients don't wait to be let in: what they send about a document before that is kept here, within
bounds, and told once the caller has let them in (``admit``). Who was turned away (``deny``) goes on
sending for a while; that is passed over, until a new token comes.

==================  ================================================================
comes               event
==================  ================================================================
Token               ``TokenReceived``; answer with ``admit`` or ``deny``
SyncStep1           ``DiffRequested``: send ``diff``, and ``step1``
SyncStep2, Update   ``UpdateReceived``, empty or not: each is to be answered by ``status``
Awareness           ``AwarenessReceived``
QueryAwareness      nothing: stock servers ignore it, and tell presence anyway
Stateless           nothing: we have nobody to tell
Close               ``CloseRequested``: answer with ``closed``
Ping                ``Pinged``: send a pong
Pong, unknown       nothing
==================  ================================================================
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeAlias

from syncd.protocol.errors import RemoteProtocolError
from syncd.protocol.events import AwarenessReceived, DiffRequested, UpdateReceived
from syncd.protocol.hocuspocus.codec import (
    Addressed,
    Authenticated,
    Awareness,
    Body,
    Close,
    PermissionDenied,
    Ping,
    Pong,
    Sync,
    Token,
    decode,
    document_of,
    encode,
    envelope,
)
from syncd.protocol.lib0 import last_var_bytes
from syncd.protocol.ysync import SyncStep1, SyncStep2, Update

MAX_WAITING_BYTES: Final = 5 * 1024 * 1024
"""What one socket may have said about documents that it was not let into yet."""
MAX_WAITING: Final = 1000
"""The same in messages."""
MAX_UNANSWERED: Final = 100
"""How many documents one socket may have asked to be let into at once."""


@dataclass(frozen=True, slots=True)
class TokenReceived:
    """Somebody wants to be let into a document, or shows a new token where it is in."""

    address: str
    document: str
    token: str = field(repr=False)
    version: str | None


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """The client has done with a document."""

    address: str


@dataclass(frozen=True, slots=True)
class Pinged:
    """The client asks whether we are there."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a client says about a document it was let into."""

    address: str
    event: DiffRequested | UpdateReceived | AwarenessReceived


Event: TypeAlias = TokenReceived | CloseRequested | Pinged | Told


class _Standing(Enum):
    ASKING = auto()
    ADMITTED = auto()
    DENIED = auto()


class CollabSession:
    """One socket, from the server's side. Remembers which documents its client was let into."""

    def __init__(self) -> None:
        self._standing: dict[str, _Standing] = {}
        # What stands before an update, for each document that the client is in.
        self._heads: dict[bytes, str] = {}
        self._waiting: dict[str, deque[tuple[Told, int]]] = {}
        self._waiting_bytes = 0
        self._waiting_count = 0

    def read_update(self, data: bytes) -> tuple[str, bytes] | None:
        """Return address and update of a frame, if it is nothing but a short one of a document it is in."""
        # An address of up to 127 bytes has one byte before it; behind it two say that an update follows.
        end = data[0] + 3 if data else 0
        address = self._heads.get(data[:end])
        update = last_var_bytes(data, end) if address is not None else None
        return (address, update) if address is not None and update is not None else None

    def receive(self, data: bytes) -> list[Event]:
        """
        Read a frame.

        Raises:
            MalformedFrame: It is none.
            RemoteProtocolError: Too much was said before anybody was let in.
        """
        frame = decode(data, is_server=False)
        match frame:
            case Addressed(address, Token(token, version)):
                return [self._ask(address, token, version)]
            case Addressed(address, Close()):
                self.forget(address)
                return [CloseRequested(address)]
            case Addressed(address, body):
                told = _told(address, body)
                return [] if told is None else self._tell(told, len(data))
            case Ping():
                return [Pinged()]
            case Pong():
                return []

    def _ask(self, address: str, token: str, version: str | None) -> TokenReceived:
        if self._standing.get(address) is not _Standing.ADMITTED:
            self._standing[address] = _Standing.ASKING
            asking = sum(standing is not _Standing.ADMITTED for standing in self._standing.values())
            if asking > MAX_UNANSWERED:
                raise RemoteProtocolError(f"more than {MAX_UNANSWERED} documents without being let in")
        return TokenReceived(address, document_of(address), token, version)

    def _tell(self, told: Told, size: int) -> list[Event]:
        standing = self._standing.get(told.address)
        if standing is _Standing.ADMITTED:
            return [told]
        if standing is _Standing.ASKING:
            self._keep(told, size)
        return []

    def _keep(self, told: Told, size: int) -> None:
        self._waiting_bytes += size
        self._waiting_count += 1
        if self._waiting_bytes > MAX_WAITING_BYTES or self._waiting_count > MAX_WAITING:
            raise RemoteProtocolError("too much was sent before anybody was let in")
        self._waiting.setdefault(told.address, deque()).append((told, size))

    def admit(self, address: str, *, is_read_only: bool) -> tuple[bytes, list[Told]]:
        """
        Let a client into a document.

        Returns:
            The frame that says so, and what the client has said about it meanwhile.
        """
        self._standing[address] = _Standing.ADMITTED
        self._heads[envelope(address) + b"\x02"] = address
        return encode(address, Authenticated(is_read_only), is_server=True), self._drop_waiting(address)

    def deny(self, address: str, reason: str) -> bytes:
        """Turn a client away from a document; returns the frame that says so."""
        self._standing[address] = _Standing.DENIED
        self._heads.pop(envelope(address) + b"\x02", None)
        self._drop_waiting(address)
        return encode(address, PermissionDenied(reason), is_server=True)

    def forget(self, address: str) -> None:
        """Know nothing any more of a document."""
        self._standing.pop(address, None)
        self._heads.pop(envelope(address) + b"\x02", None)
        self._drop_waiting(address)

    def _drop_waiting(self, address: str) -> list[Told]:
        waiting = self._waiting.pop(address, deque())
        self._waiting_bytes -= sum(size for _, size in waiting)
        self._waiting_count -= len(waiting)
        return [told for told, _ in waiting]


def _told(address: str, body: Body) -> Told | None:
    match body:
        case Sync(SyncStep1(state_vector)):
            return Told(address, DiffRequested(state_vector))
        case Sync(SyncStep2(update) | Update(update) as message):
            return Told(address, UpdateReceived(update, is_diff=isinstance(message, SyncStep2)))
        case Awareness(payload):
            return Told(address, AwarenessReceived(payload))
        case _:
            return None
