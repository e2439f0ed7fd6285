"""
Ids: ULIDs, 128 bits whose first 48 are milliseconds, so that they sort by time.

The id of a merge is not drawn but derived, so that one merge made on two
devices is one message.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from typing import NewType

from ulid import ULID

ConversationId = NewType("ConversationId", str)
MessageId = NewType("MessageId", str)
RunId = NewType("RunId", str)

_MAX_MS = (1 << 48) - 1


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def new_id(at_ms: int | None = None) -> str:
    """
    Draw a new ULID.

    Args:
        at_ms: Its time in milliseconds; now, where it is left out.

    Returns:
        26 characters of Crockford's base 32.
    """
    return _ulid(now_ms() if at_ms is None else at_ms, secrets.token_bytes(10))


def merge_id(branch: str, parents: Sequence[str], at_ms: int) -> str:
    """
    Derive the id of the merge message with these parents on this branch.

    Args:
        branch: The branch that is merged into.
        parents: The merged heads, in the order of the message's ``parents``.
        at_ms: The message's ``created``.
    """
    return _ulid(at_ms, derived_bytes("id", branch, *parents)[:10])


def imported_id(at_ms: int, *words: str) -> str:
    """
    Derive the id of what another program wrote: imported twice, or on two devices, it is one thing.

    Args:
        at_ms: When it was written, in milliseconds.
        words: What names it there: the program, and its own ids.
    """
    return _ulid(at_ms, hashlib.sha256("\0".join(("crdt-conv import", *words)).encode()).digest()[:10])


def derived_bytes(*words: str) -> bytes:
    """Return SHA-256 over ``words``, for what two devices must derive alike."""
    return hashlib.sha256("\0".join(("crdt-conv merge", *words)).encode()).digest()


def _ulid(at_ms: int, entropy: bytes) -> str:
    return str(ULID.from_bytes(min(max(at_ms, 0), _MAX_MS).to_bytes(6, "big") + entropy))
