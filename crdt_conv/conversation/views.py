"""What a conversation tells: changes, branches and their logs. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from crdt_conv.ids import ConversationId, MessageId
from crdt_conv.messages.message import Message


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
    redacted: frozenset[MessageId] = frozenset()
    """Those of ``messages`` that are redacted now."""
    roots: frozenset[str] = frozenset()
    """Those of ``meta``, ``choices`` and ``branches`` in which something changed."""


@dataclass(frozen=True, slots=True)
class Log:
    """
    A branch as it reads now.

    ``messages`` are all of it, or the last ones that were asked for; ``length``
    counts all, and ``digest`` (32 bytes) covers all in their order.
    """

    branch: str
    heads: tuple[Message, ...]
    messages: tuple[Message, ...]
    digest: bytes
    length: int

    @property
    def is_diverged(self) -> bool:
        """Whether devices wrote apart from each other; the next message joins them."""
        return len(self.heads) > 1


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch as people see it; its name never changes, its title may."""

    name: str
    title: str
    is_archived: bool
