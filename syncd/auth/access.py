"""What a gate is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Right(StrEnum):
    """What somebody may do in a conversation, or in the whole server."""

    READ = "read"
    WRITE = "write"
    RUN = "run"
    ADMIN = "admin"


_IMPLIED = {
    Right.READ: frozenset(Right),
    Right.WRITE: frozenset({Right.WRITE, Right.ADMIN}),
    Right.RUN: frozenset({Right.RUN, Right.ADMIN}),
    Right.ADMIN: frozenset({Right.ADMIN}),
}
"""For each right the rights that bring it along."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody showed: a token, and the request's headers by their names in small letters."""

    token: str | None = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    client: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may do; ``expires_s`` is in seconds since 1970."""

    subject: str
    rights: frozenset[Right]
    expires_s: float | None = None

    def may(self, right: Right) -> bool:
        """Whether this right was granted, or one that brings it along."""
        return not self.rights.isdisjoint(_IMPLIED[right])


class AccessDenied(Exception):
    """
    Somebody is not let in.

    ``code`` is 4401 where the token is missing, no good or too old, and 4403 where it is good and
    the right is missing. The text never holds the token.
    """

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Gate(Protocol):
    """Decides who may do what."""

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        """
        Return what somebody may do.

        Args:
            credentials: What was shown.
            conversation: Where; ``None`` for the whole server.

        Raises:
            AccessDenied: Nothing.
        """

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when earlier answers may not hold any more; returns the way to stop it."""
