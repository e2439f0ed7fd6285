"""What a conversation needs of a store: its log, and where its index may be kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from crdt_conv.engine import IndexStore, Listed
from crdt_conv.ids import ConversationId


class Indexed(Protocol):
    """A conversation that has an index which can be stored."""

    id: ConversationId

    @property
    def unsaved(self) -> int:
        """How many messages changed since the index was stored."""

    def save_index(self) -> None:
        """Store the index."""


class UpdateLog(Protocol):
    """What a conversation needs of a store."""

    @property
    def is_writable(self) -> bool:
        """Whether anything can be appended."""

    def append(
        self, conversation: ConversationId, update: bytes, origin: str | None, listed: Listed | None = None
    ) -> int:
        """
        Make one update durable, and with it what the list shows, where that is known.

        Returns:
            Its sequence number.

        Raises:
            StoreError: It is not durable, and never will be by itself.
        """

    def read(self, conversation: ConversationId) -> Sequence[tuple[int, bytes]]:
        """Return all updates of a conversation in sequence, each behind its number."""

    def discard(self, seq: int) -> None:
        """Take back an update that was never acknowledged, since no document can integrate it."""

    def describe(self, conversation: ConversationId, listed: Listed) -> None:
        """Keep what the list of conversations shows."""

    def last_seq(self, conversation: ConversationId) -> int:
        """Return the highest sequence number of a conversation, 0 without any."""

    def acknowledge(self, peer: str, conversation: ConversationId, seq: int) -> None:
        """Write down that a peer has everything up to ``seq``; never backwards."""

    def waiting(self, peer: str, conversation: ConversationId) -> int:
        """Count the updates that did not come from a peer and that it has not acknowledged."""

    def put_blob(self, data: bytes) -> str:
        """Keep bytes under their SHA-256, which is returned as hexadecimal digits."""

    def get_blob(self, sha256: str) -> bytes | None:
        """Return the bytes, or ``None`` where they are not here."""

    def has_blob(self, sha256: str) -> bool:
        """Whether a blob is here."""

    def index(self) -> IndexStore | None:
        """Where indexes are kept, if they are."""

    def redacted(self, conversation: ConversationId) -> None:
        """Hear that messages were redacted, or may have been; told before ``changed``."""

    def changed(self, replica: Indexed, seq: int) -> None:
        """Hear that a conversation's index holds an update now, and so is newer than what is stored of it."""
