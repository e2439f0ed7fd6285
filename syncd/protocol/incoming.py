"""
What a client says in the y-websocket dialect, as events. Bytes in, events out.

The dialect's server remembers nothing of what was said, so this is a table and no session; what a
server says is encoded by ``ysync`` and ``frames``.

==================  =======================================================================
comes               event, and what the caller does
==================  =======================================================================
SyncStep1           ``DiffRequested``: send SyncStep2, and SyncStep1
SyncStep2, Update   ``UpdateReceived``: send it as Update to everybody, its sender too, once
                    it is on disk; empty: nothing
Awareness           ``AwarenessReceived``: send it to everybody, its sender too
QueryAwareness      ``AwarenessQueried``: send everybody's presence
Denied, unknown     nothing
==================  =======================================================================
"""

from __future__ import annotations

from syncd.protocol.events import (
    AwarenessQueried,
    AwarenessReceived,
    DiffRequested,
    Event,
    UpdateReceived,
)
from syncd.protocol.frames import Awareness, Denied, Frame, QueryAwareness, Unknown, decode_frames
from syncd.protocol.lib0 import last_var_bytes
from syncd.protocol.ysync import EMPTY_UPDATE, SyncStep1, SyncStep2, Update


def read_update(data: bytes) -> bytes | None:
    """Return the update that a frame holds, if it is nothing but a short one: most are."""
    if not data.startswith(b"\x00\x02"):
        return None
    update = last_var_bytes(data, 2)
    return update if update != EMPTY_UPDATE else None


def read_events(data: bytes) -> list[Event]:
    """
    Read one frame of a client.

    Raises:
        MalformedFrame: It is none.
    """
    return [event for frame in decode_frames(data) for event in _told(frame)]


def _told(frame: Frame) -> list[Event]:
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
