"""A message without its content: all that the graph, and the stored index, know of it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from crdt_conv.ids import MessageId

Place: TypeAlias = tuple[str, tuple[MessageId, ...], str, int]
"""Role, parents, branch and ``created``: what the graph is built from."""


class Node(NamedTuple):
    """
    ``created`` is in milliseconds; ``blobs`` are SHA-256 in hexadecimal digits.

    ``source`` names the messages that this one was copied from.
    """

    id: MessageId
    role: str
    parents: tuple[MessageId, ...]
    branch: str
    created: int
    status: str
    hidden_count: int = 0
    blobs: tuple[str, ...] = ()
    source: tuple[MessageId, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether it was written to its end."""
        return self.status == "complete"

    @property
    def is_reply(self) -> bool:
        """Whether it answers its parents, and so may have alternatives."""
        return self.role == "assistant"

    @property
    def place(self) -> Place:
        """What the graph is built from."""
        return self.role, self.parents, self.branch, self.created

    @property
    def order(self) -> tuple[int, MessageId]:
        """The tie-break of contract 1: ``(created, id)``."""
        return self.created, self.id
