"""What the HTTP API asks of whoever composes it with models; the API itself knows none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from crdt_conv import Conversation, Target


class CantAnswer(Exception):
    """Nothing can be sent; the text says why."""


class Answering(Protocol):
    """The models of a daemon."""

    @property
    def default(self) -> Target | None:
        """What answers a run that names no target, in a conversation without one."""

    def tools(self) -> Mapping[str, Any]:
        """Return what models may call here, and how its servers stand, as JSON."""

    @property
    def offered(self) -> Sequence[Target]:
        """What it answers with, the default first; ``model`` is left open where a person has to say which."""

    def explain(self, conversation: Conversation, target: Target, branch: str) -> Mapping[str, Any]:
        """
        Return what would be sent, and why, as JSON.

        Raises:
            CantAnswer: Nothing would be.
        """
