"""
Why an update was not taken: JSON that clients are told, ``{"status": ..., "reason": ...}``.

The statuses are for programs, the reason is for people.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What became of an update."""

    PERMISSION_DENIED = "permission_denied"
    INVALID_UPDATE = "invalid_update"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    RATE_LIMITED = "rate_limited"
    TRY_AGAIN = "try_again"
    EVICTED = "evicted"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an update was not taken."""

    status: Status
    reason: str

    def to_json(self) -> str:
        """Return what a client is told."""
        return json.dumps({"status": self.status, "reason": self.reason}, ensure_ascii=False)


def parse_refusal(text: str) -> Refusal | None:
    """Return the refusal that a text holds, if it holds one."""
    try:
        told = json.loads(text)
        return Refusal(Status(told["status"]), str(told["reason"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
