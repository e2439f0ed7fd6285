"""
Frames of the Hocuspocus dialect: many documents on one socket.

::

    frame   = varString(address) type body | 9 | 10
    address = document | document NUL session
    type    = 0 sync                       both ways
            | 1 varBytes(awareness)        both ways
            | 2 0 varString(token) [varString(version)]         client: this is who I am
            | 2 0 | 2 1 varString(reason) | 2 2 varString(scope) server: who are you, no, welcome
            | 3                            query awareness
            | 4 sync                       an answer among servers
            | 5 varString(text)            stateless
            | 6 varString(text)            stateless, among servers
            | 7 [varString(reason)]        close: a client's has no body
            | 8 (1 | 0)                    sync status: stored, or refused

A frame of one byte is a ping (9) or a pong (10), and has no address. A frame holds one
message; what follows it is passed over, as the stock server and client do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from syncd.protocol.errors import MalformedFrame
from syncd.protocol.lib0 import Reader, encode_var_bytes, encode_var_string, encode_var_uint
from syncd.protocol.ysync import SyncMessage, decode_sync, encode_sync

PING: Final = b"\x09"
PONG: Final = b"\x0a"

MAX_ADDRESS: Final = 1000
"""A longer address, in characters, is a stranger's joke."""

READ_WRITE: Final = "read-write"
READ_ONLY: Final = "readonly"

_SYNC, _AWARENESS, _AUTH, _QUERY_AWARENESS, _SYNC_REPLY, _STATELESS = range(6)
_CLOSE, _SYNC_STATUS = 7, 8
_TOKEN, _PERMISSION_DENIED, _AUTHENTICATED = range(3)


@dataclass(frozen=True, slots=True)
class Ping:
    """The question whether the other end is there."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to ``Ping``."""


@dataclass(frozen=True, slots=True)
class Sync:
    """A message of y-sync."""

    message: SyncMessage


@dataclass(frozen=True, slots=True)
class Awareness:
    """Presence."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Token:
    """From a client: who it is. From version 4 on it says which version it is of."""

    token: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """From a server: send a new token."""


@dataclass(frozen=True, slots=True)
class PermissionDenied:
    """From a server: no."""

    reason: str


@dataclass(frozen=True, slots=True)
class Authenticated:
    """From a server: welcome."""

    is_read_only: bool


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """A request for everybody's presence."""


@dataclass(frozen=True, slots=True)
class Stateless:
    """A text that is not part of the document."""

    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """The end of one document on this socket."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """From a server, for one frame with an update: whether it is stored."""

    is_stored: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that we don't know, or that only servers send each other."""

    type: int
    body: bytes


Body: TypeAlias = (
    Sync
    | Awareness
    | Token
    | TokenWanted
    | PermissionDenied
    | Authenticated
    | QueryAwareness
    | Stateless
    | Close
    | SyncStatus
    | Unknown
)


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message about one document."""

    address: str
    body: Body


def document_of(address: str) -> str:
    """Return the document's name of an address."""
    return address.partition("\0")[0]


def envelope(address: str, kind: int = _SYNC) -> bytes:
    """Return what stands before the body of a message of one type, of y-sync where none is said."""
    return encode_var_string(address) + encode_var_uint(kind)


def presence_envelope(address: str) -> bytes:
    """Return what stands before a presence payload."""
    return envelope(address, _AWARENESS)


def encode(address: str, body: Body, *, is_server: bool) -> bytes:  # noqa: C901 - a table
    """
    Encode a message.

    Args:
        address: Exactly as the client writes it.
        body: What to say.
        is_server: Who says it; a close differs.

    Raises:
        LocalProtocolError: It holds a string that has no encoding.
    """
    head = encode_var_string(address)
    match body:
        case Sync(message):
            return encode_sync(message, head + b"\x00")
        case Awareness(payload):
            return encode_var_bytes(payload, head + b"\x01")
        case Token(token, version):
            told = encode_var_string(token, head + b"\x02\x00")
            return told if version is None else encode_var_string(version, told)
        case TokenWanted():
            return head + b"\x02\x00"
        case PermissionDenied(reason):
            return encode_var_string(reason, head + b"\x02\x01")
        case Authenticated(is_read_only):
            return encode_var_string(READ_ONLY if is_read_only else READ_WRITE, head + b"\x02\x02")
        case QueryAwareness():
            return head + b"\x03"
        case Stateless(text):
            return encode_var_string(text, head + b"\x05")
        case Close(reason):
            return encode_var_string(reason, head + b"\x07") if is_server else head + b"\x07"
        case SyncStatus(is_stored):
            return head + (b"\x08\x01" if is_stored else b"\x08\x00")
        case Unknown(kind, rest):
            return head + encode_var_uint(kind) + rest


def decode(data: bytes, *, is_server: bool) -> Addressed | Ping | Pong:
    """
    Decode a frame.

    Args:
        data: One binary message of a socket.
        is_server: Who sent it; a token and a close differ.

    Raises:
        MalformedFrame: It is none.
    """
    if len(data) == 1:
        return _decode_single(data)
    reader = Reader(data)
    address = reader.read_var_string()
    document, nul, session = address.partition("\0")
    if not document.strip() or len(address) > MAX_ADDRESS or (nul and (not session or "\0" in session)):
        raise MalformedFrame("an address that names no document")
    return Addressed(address, _decode_body(reader, is_server=is_server))


def _decode_single(data: bytes) -> Ping | Pong:
    if data == PING:
        return Ping()
    if data == PONG:
        return Pong()
    raise MalformedFrame("a frame of one byte that is neither ping nor pong")


def _decode_body(reader: Reader, *, is_server: bool) -> Body:
    kind = reader.read_var_uint()
    if kind in {_SYNC, _SYNC_REPLY}:
        return Sync(decode_sync(reader))
    if kind == _AWARENESS:
        return Awareness(reader.read_var_bytes())
    if kind == _AUTH:
        return _decode_auth(reader, is_server=is_server)
    if kind == _QUERY_AWARENESS:
        return QueryAwareness()
    if kind == _STATELESS:
        return Stateless(reader.read_var_string())
    if kind == _CLOSE:
        return Close(reader.read_var_string() if is_server and not reader.is_at_end else "")
    if kind == _SYNC_STATUS:
        return SyncStatus(reader.read_var_uint() == 1)
    return Unknown(kind, reader.read_rest())


def _decode_auth(reader: Reader, *, is_server: bool) -> Body:
    kind = reader.read_var_uint()
    if kind == _TOKEN:
        if is_server:
            return TokenWanted()
        token = reader.read_var_string()
        return Token(token, None if reader.is_at_end else reader.read_var_string())
    if kind == _PERMISSION_DENIED:
        return PermissionDenied(reader.read_var_string())
    if kind == _AUTHENTICATED:
        return Authenticated(reader.read_var_string() == READ_ONLY)
    return Unknown(_AUTH, encode_var_uint(kind) + reader.read_rest())
