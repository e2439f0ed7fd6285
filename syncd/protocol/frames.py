"""
Frames of the y-websocket dialect: one document a socket.

::

    frame     = 0 sync | 1 varBytes(awareness) | 2 0 varString(reason) | 3

``sync`` is in ``ysync``, which other dialects share. y-websocket 3 reads one message
from a frame and drops the rest, so we send one; 4 packs several, so we read them all.
A message of a type that we don't know is kept as ``Unknown``, with all that follows
it in the frame, since nothing says where it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from syncd.protocol.errors import MalformedFrame
from syncd.protocol.lib0 import Reader, encode_var_bytes, encode_var_string, encode_var_uint
from syncd.protocol.ysync import SyncStep1, SyncStep2, Update, decode_sync, encode_sync

__all__ = [
    "MAX_MESSAGES",
    "Awareness",
    "Denied",
    "Frame",
    "QueryAwareness",
    "SyncStep1",
    "SyncStep2",
    "Unknown",
    "Update",
    "decode_frame",
    "decode_frames",
    "encode_frame",
]

MAX_MESSAGES = 1000
"""More messages in one frame are a stranger's joke."""

_SYNC, _AWARENESS, _AUTH, _QUERY_AWARENESS = range(4)
_PERMISSION_DENIED = 0


@dataclass(frozen=True, slots=True)
class Awareness:
    """Presence; see ``awareness``."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Denied:
    """Why the server did not do what it was asked."""

    reason: str


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """A request for everybody's presence."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type we don't know, with what followed it."""

    type: int
    body: bytes


Frame: TypeAlias = SyncStep1 | SyncStep2 | Update | Awareness | Denied | QueryAwareness | Unknown


def encode_frame(frame: Frame) -> bytes:
    """
    Encode one frame.

    Raises:
        LocalProtocolError: It holds a number or a string that has no encoding.
    """
    match frame:
        case SyncStep1() | SyncStep2() | Update():
            return encode_sync(frame, b"\x00")
        case Awareness(payload):
            return encode_var_bytes(payload, b"\x01")
        case Denied(reason):
            return encode_var_string(reason, b"\x02\x00")
        case QueryAwareness():
            return b"\x03"
        case Unknown(kind, body):
            return encode_var_uint(kind) + body
        case _:
            assert_never(frame)


def decode_frame(data: bytes) -> Frame:
    """
    Decode a frame that holds one message.

    Raises:
        MalformedFrame: It is empty, cut off, or holds more.
    """
    reader = Reader(data)
    frame = _decode(reader)
    if not reader.is_at_end:
        raise MalformedFrame("a frame with trailing bytes")
    return frame


def decode_frames(data: bytes) -> list[Frame]:
    """
    Decode all messages of one frame.

    Raises:
        MalformedFrame: It is empty, cut off, or has too many.
    """
    reader = Reader(data)
    frames = [_decode(reader)]
    while not reader.is_at_end:
        if len(frames) == MAX_MESSAGES:
            raise MalformedFrame(f"more than {MAX_MESSAGES} messages in a frame")
        frames.append(_decode(reader))
    return frames


def _decode(reader: Reader) -> Frame:
    kind = reader.read_var_uint()
    if kind == _SYNC:
        return decode_sync(reader)
    if kind == _AWARENESS:
        return Awareness(reader.read_var_bytes())
    if kind == _QUERY_AWARENESS:
        return QueryAwareness()
    if kind == _AUTH:
        return _decode_auth(reader)
    return Unknown(kind, reader.read_rest())


def _decode_auth(reader: Reader) -> Denied | Unknown:
    kind = reader.read_var_uint()
    if kind == _PERMISSION_DENIED:
        return Denied(reader.read_var_string())
    # y-protocols passes over the other kinds too.
    return Unknown(_AUTH, encode_var_uint(kind) + reader.read_rest())
