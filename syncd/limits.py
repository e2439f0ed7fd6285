"""What one client may cost. All of it is for the operator to change; the defaults let honest clients be."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    frame_bytes: int = 32 * MIB
    """One message of a socket; a larger one closes it with 1009."""
    document_bytes: int = 256 * MIB
    """One document, encoded; what would make it larger is refused."""
    uncommitted_bytes: int = 4 * MIB
    """What one socket may have on the way to the disk; beyond it nothing more is read from it meanwhile."""
    lag_bytes: int = 16 * MIB
    """What waits for one slow reader, after its updates were merged, before it is closed with 1013."""
    lag_s: float = 30.0
    """How long a reader may lag before it is closed with 1013."""
    bytes_per_s: float = 32 * MIB
    """What one socket may send for long; beyond it, it is read more slowly."""
    frames_per_s: float = 100_000
    """The same in frames."""
    documents: int = 1000
    """How many documents one socket may have open."""
    unauthenticated_s: float = 10.0
    """How long a socket may be open before it has shown who it is."""
    unauthenticated: int = 1000
    """How many such sockets there may be at once; a new one then ends the oldest of them."""
    presence_s: float = 0.05
    """Presence is told at most once in so long."""
    idle_s: float = 10.0
    """A document's bytes that nobody asked for in so long leave memory."""
