"""What happened since the start, as plain numbers; ``metrics`` shows them to Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Counted on one event loop; everything only grows."""

    received: int = 0
    """Updates that clients sent."""
    received_bytes: int = 0
    committed: int = 0
    """Updates that are on disk."""
    commits: int = 0
    """Rows in the log that hold them."""
    relayed: int = 0
    """Frames with updates that were sent to members."""
    merged: int = 0
    """Frames that were not sent by themselves, since their reader lagged."""
    refused: dict[str, int] = field(default_factory=dict)
    """Updates that were refused, by status."""
    closed: dict[int, int] = field(default_factory=dict)
    """Sockets that we closed, by code."""
    denied: int = 0
    """Times somebody was not let in."""

    def refuse(self, status: str) -> None:
        """Count a refusal."""
        self.refused[status] = self.refused.get(status, 0) + 1

    def close(self, code: int) -> None:
        """Count a socket that we closed."""
        self.closed[code] = self.closed.get(code, 0) + 1
