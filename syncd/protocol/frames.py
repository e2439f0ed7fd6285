"""
Frames of the y-websocket dialect: one document a socket.

::

    frame     = 0 sync | 1 varBytes(awareness) | 2 0 varString(reason) | 3
    sync      = 0 varBytes(state vector) | 1 varBytes(update) | 2 varBytes(update)

y-websocket 3 reads one message from a frame and drops the rest, so we send one;
4 packs several, so we read them all. Messages of unknown types are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from syncd.protocol.errors import MalformedFrame
from syncd.protocol.lib0 import Reader, encode_var_bytes, encode_var_string, encode_var_uint

MAX_MESSAGES = 1000
"""More messages in one frame are a stranger's joke."""

_SYNC, _AWARENESS, _AUTH, _QUERY_AWARENESS = range(4)
_STEP_1, _STEP_2, _UPDATE = range(3)


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """A replica's state vector: the other end answers with what it lacks."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncStep2:
    """The answer to ``SyncStep1``."""

    update: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """An update by itself: a relay, or the echo that acknowledges one."""

    update: bytes


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
    """Encode one frame."""
    match frame:
        case SyncStep1(state_vector):
            return b"\x00\x00" + encode_var_bytes(state_vector)
        case SyncStep2(update):
            return b"\x00\x01" + encode_var_bytes(update)
        case Update(update):
            return b"\x00\x02" + encode_var_bytes(update)
        case Awareness(payload):
            return b"\x01" + encode_var_bytes(payload)
        case Denied(reason):
            return b"\x02\x00" + encode_var_string(reason)
        case QueryAwareness():
            return b"\x03"
        case Unknown(kind, body):
            return encode_var_uint(kind) + body
        case _:
            assert_never(frame)


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
        return _decode_sync(reader)
    if kind == _AWARENESS:
        return Awareness(reader.read_var_bytes())
    if kind == _QUERY_AWARENESS:
        return QueryAwareness()
    if kind == _AUTH:
        if reader.read_var_uint() != 0:
            raise MalformedFrame("an unknown kind of auth message")
        return Denied(reader.read_var_string())
    return Unknown(kind, reader.read_rest())


def _decode_sync(reader: Reader) -> Frame:
    step = reader.read_var_uint()
    if step == _STEP_1:
        return SyncStep1(reader.read_var_bytes())
    if step == _STEP_2:
        return SyncStep2(reader.read_var_bytes())
    if step == _UPDATE:
        return Update(reader.read_var_bytes())
    raise MalformedFrame(f"no sync message of type {step}")
