"""What a conversation tells: changes, the log of a branch, and what it could not read. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crdt_conv.graph import Waiting
from crdt_conv.ids import ConversationId, MessageId
from crdt_conv.message import Message


@dataclass(frozen=True, slots=True)
class Change:
    """
    Something durable that happened: ``update`` stands in the log at ``seq``.

    ``origin`` names the peer it came from; it is ``None`` for what was written here.
    """

    conversation: ConversationId
    update: bytes
    seq: int
    origin: str | None
    messages: frozenset[MessageId]
    runs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Log:
    """A branch as it reads now: ``digest`` (32 bytes) covers ``messages`` in their order."""

    branch: str
    heads: tuple[Message, ...]
    messages: tuple[Message, ...]
    digest: bytes

    @property
    def is_diverged(self) -> bool:
        """Whether devices wrote apart from each other; the next message joins them."""
        return len(self.heads) > 1


@dataclass(frozen=True, slots=True)
class Problems:
    """What was kept but not read: entries of the wrong shape, and messages that can't be placed."""

    quarantined: Mapping[str, str]
    waiting: Sequence[Waiting]
    is_pending: bool
    refused_updates: int

    def __bool__(self) -> bool:
        return bool(self.quarantined or self.waiting or self.is_pending or self.refused_updates)
