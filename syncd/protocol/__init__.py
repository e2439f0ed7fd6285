"""The protocol, sans I/O: bytes in, bytes and events out. See ``docs/protocol.md``."""

from syncd.protocol.awareness import AwarenessStates
from syncd.protocol.close_codes import CloseCode, is_final
from syncd.protocol.errors import LocalProtocolError, MalformedFrame, ProtocolError, RemoteProtocolError
from syncd.protocol.events import (
    Acknowledged,
    AwarenessQueried,
    AwarenessReceived,
    DiffRequested,
    Event,
    Synced,
    UpdateReceived,
)
from syncd.protocol.incoming import read_events, read_update

__all__ = [
    "Acknowledged",
    "AwarenessQueried",
    "AwarenessReceived",
    "AwarenessStates",
    "CloseCode",
    "DiffRequested",
    "Event",
    "LocalProtocolError",
    "MalformedFrame",
    "ProtocolError",
    "RemoteProtocolError",
    "Synced",
    "UpdateReceived",
    "is_final",
    "read_events",
    "read_update",
]
