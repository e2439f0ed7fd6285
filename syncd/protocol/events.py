"""What a session tells its caller: the same for every dialect, rooms and links need not know which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class DiffRequested:
    """The other end has this; send what it lacks."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class UpdateReceived:
    """
    An update that is not known to be ours, and not empty.

    ``is_diff`` says that it answers our SyncStep1, so that much may be known already.
    """

    update: bytes
    is_diff: bool = field(default=False, kw_only=True)


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


Event: TypeAlias = DiffRequested | UpdateReceived | AwarenessReceived | AwarenessQueried
"""What a client says in the dialect of one document."""
