"""
The three messages of y-sync, which every dialect wraps in an envelope of its own.

::

    sync      = 0 varBytes(state vector) | 1 varBytes(update) | 2 varBytes(update)

State vectors and updates are opaque here. A fourth kind is refused, as y-protocols
does: it may hold content, and content that is passed over in silence is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from syncd.protocol.errors import MalformedFrame
from syncd.protocol.lib0 import Reader, encode_var_bytes, encode_var_uint

EMPTY_UPDATE = b"\x00\x00"
"""The update that changes nothing: no structs, no deletes."""

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


SyncMessage: TypeAlias = SyncStep1 | SyncStep2 | Update


def encode_sync(message: SyncMessage, envelope: bytes) -> bytes:
    """Encode a message behind what its dialect puts before it."""
    return encode_var_bytes(*_parts(message, envelope))


def sync_head(message: SyncMessage, envelope: bytes) -> bytes:
    """Return what stands before the bytes that a message holds: an update may be too long to copy it."""
    body, head = _parts(message, envelope)
    return head + encode_var_uint(len(body))


def _parts(message: SyncMessage, envelope: bytes) -> tuple[bytes, bytes]:
    match message:
        case SyncStep1(state_vector):
            return state_vector, envelope + b"\x00"
        case SyncStep2(update):
            return update, envelope + b"\x01"
        case Update(update):
            return update, envelope + b"\x02"
        case _:
            assert_never(message)


def decode_sync(reader: Reader) -> SyncMessage:
    """
    Decode a message, from behind the envelope.

    Raises:
        MalformedFrame: It is cut off, or of no kind that we know.
    """
    step = reader.read_var_uint()
    if step == _STEP_1:
        return SyncStep1(reader.read_var_bytes())
    if step == _STEP_2:
        return SyncStep2(reader.read_var_bytes())
    if step == _UPDATE:
        return Update(reader.read_var_bytes())
    raise MalformedFrame(f"no sync message of type {step}")
