"""What a conversation needs of a store: the narrow side of the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from crdt_conv.ids import ConversationId


class UpdateLog(Protocol):
    """What a conversation needs of a store."""

    def append(self, conversation: ConversationId, update: bytes, origin: str | None) -> int:
        """
        Make one update durable.

        Returns:
            Its sequence number.

        Raises:
            StoreError: It is not durable, and never will be by itself.
        """

    def read(self, conversation: ConversationId) -> Iterable[bytes]:
        """Return all updates of a conversation in sequence."""

    def discard(self, seq: int) -> None:
        """Take back an update that was never acknowledged, since no document can integrate it."""

    def describe(self, conversation: ConversationId, title: str) -> None:
        """Keep what the list of conversations shows."""

    def last_seq(self, conversation: ConversationId) -> int:
        """Return the highest sequence number of a conversation, 0 without any."""

    def acknowledge(self, peer: str, conversation: ConversationId, seq: int) -> None:
        """Write down that a peer has everything up to ``seq``; never backwards."""

    def waiting(self, peer: str, conversation: ConversationId) -> int:
        """Count the updates that did not come from a peer and that it has not acknowledged."""
