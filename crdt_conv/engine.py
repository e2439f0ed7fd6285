"""
The seam to another storage engine: what a store asks of it.

Guarantees, graded. ``append`` and everything in ``Engine`` is durable when it
returns, or raises and did not happen. A sequence number is never given twice.
``IndexStore`` is derived: an engine may have none, and what stands in it may be
thrown away at any time. Every method may be called from any thread.

``crdt_conv.testing`` holds the acceptance suite; every engine runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from crdt_conv.ids import ConversationId, MessageId
from crdt_conv.messages.fields import Json
from crdt_conv.messages.message import Message
from crdt_conv.messages.node import Node

NOTHING: Final[Mapping[int, bytes]] = MappingProxyType({})


class Listed(NamedTuple):
    """What the list shows of a conversation besides times."""

    title: str
    forked_from: ConversationId | None = None
    is_archived: bool = False


class Row(NamedTuple):
    """
    One update on its way into the log.

    ``origin`` is the peer it came from; ``listed`` what the list shows from now on,
    where that is known already.
    """

    conversation: ConversationId
    update: bytes
    origin: str | None = None
    listed: Listed | None = None


class ConversationInfo(NamedTuple):
    """What the list of conversations shows; times in milliseconds."""

    id: ConversationId
    title: str
    created: int
    updated: int
    forked_from: ConversationId | None = None
    is_archived: bool = False


class LogSize(NamedTuple):
    """Bytes of a conversation's snapshot as encoded, and bytes and number of the updates behind it."""

    snapshot: int
    updates: int
    rows: int


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a branch as it was, to be shown before anything else is read; messages by their places."""

    heads: tuple[int, ...]
    last: tuple[int, ...]
    """The last messages of its log."""
    digest: str
    """Of the whole log, in hexadecimal digits."""
    length: int
    """How many messages the whole log has."""


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """
    The index of one conversation as it was when the log ended at ``seq``.

    A message's place is its number in ``nodes``; ``contents`` are the digests of
    their visible content.
    """

    seq: int
    nodes: Sequence[Node]
    contents: Sequence[bytes]
    roots: Mapping[str, Json] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexChange:
    """What is new in an index: ``is_whole`` where it replaces all that was stored."""

    seq: int
    places: Sequence[int]
    messages: Sequence[Message]
    """What stands in ``places`` now."""
    contents: Sequence[bytes]
    roots: Mapping[str, Json]
    quarantined: Mapping[str, str]
    tails: Mapping[str, Tail]
    dropped: frozenset[str]
    """Blobs that a message referred to and does not any more."""
    is_whole: bool


class Found(NamedTuple):
    """A message that full-text search found; ``rank`` is smaller for the better."""

    conversation: ConversationId
    message: MessageId
    rank: float
    snippet: str


class IndexStore(Protocol):
    """Where the index of a conversation may be kept. Derived: it can be emptied at any time."""

    def load(self, conversation: ConversationId, *, before: int | None = None) -> StoredIndex | None:
        """Return the index, if there is one and it is as new as the log, or as the log before an update."""

    def tail(self, conversation: ConversationId, branch: str) -> tuple[Tail, Mapping[int, Message]] | None:
        """Return the end of a branch and its messages, where the index is as new as the log and has it."""

    def messages(self, conversation: ConversationId, places: Sequence[int]) -> list[Message]:
        """
        Return the messages in some places, in their order.

        Raises:
            IndexLost: They are not there.
        """

    def write(self, conversation: ConversationId, change: IndexChange) -> None:
        """
        Keep what changed.

        Raises:
            IndexLost: The change is no whole one, and what it goes on from is not there.
        """

    def forget(self, conversation: ConversationId) -> None:
        """Throw away the index of one conversation."""

    def repack(self, conversation: ConversationId) -> None:
        """Drop what is dead: contents of messages that were written anew since."""

    def behind(self) -> list[ConversationId]:
        """Return the conversations whose index is not as new as their log."""

    def unsure(self) -> list[ConversationId]:
        """Return the conversations that may refer to blobs which ``blobs_in_use`` has not."""

    def blobs_in_use(self) -> set[str]:
        """Return every blob that an indexed message refers to."""

    def clear(self) -> None:
        """
        Throw all of it away, however damaged it is; nothing else is touched.

        Raises:
            StoreCorrupt: More than the index is damaged, and nothing was done.
        """

    def search(
        self, words: str, *, limit: int, conversation: ConversationId | None, marks: tuple[str, str]
    ) -> list[Found]:
        """Return the messages that hold all words, best first."""


class Engine(Protocol):
    """The log, snapshots, blobs, leases, and what peers have."""

    @property
    def index(self) -> IndexStore | None:
        """Where indexes are kept, if this engine keeps any."""

    def close(self) -> None:
        """Free what is held; nothing is waiting."""

    # The log

    def append(self, rows: Sequence[Row], *, at_ms: int) -> list[int]:
        """
        Append updates, all or none, durable when this returns.

        Args:
            rows: In the order they get their sequence numbers.
            at_ms: The time that the list of conversations shows.

        Returns:
            A sequence number for each, growing over the whole store.

        Raises:
            ConversationDeleted: One is for a conversation that was deleted; none of them was appended.
            StoreError: None of them was appended.
        """

    def read(self, conversation: ConversationId, after: int = 0) -> list[tuple[int, bytes]]:
        """
        Return ``(seq, update)`` behind ``after``, in sequence, as of one moment.

        A snapshot stands for all it replaced, with the sequence number of the last of them.

        Raises:
            StoreCorrupt: Something of it is damaged; the text says which.
        """

    def discard(self, seq: int) -> None:
        """Remove an update that was never acknowledged."""

    def last_seq(self, conversation: ConversationId) -> int:
        """Return the highest sequence number of a conversation, 0 without any."""

    def size(self, conversation: ConversationId) -> LogSize:
        """Return what the conversation's log takes."""

    def replace(
        self,
        conversation: ConversationId,
        seq: int,
        snapshot: bytes,
        *,
        kept: Mapping[int, bytes] = NOTHING,
        dropped: Iterable[str] = (),
    ) -> None:
        """
        Put a snapshot in the place of everything up to ``seq``, which is gone then.

        Updates that the snapshot has not are kept: with their origin, in their order, and
        with new numbers behind all others, so that a snapshot stands for all before it.

        Of a conversation that was deleted meanwhile, nothing is kept; nor is a snapshot
        that stands for less than the one that is there.

        Args:
            conversation: Which.
            seq: The number of the last update that the snapshot stands for.
            snapshot: One update.
            kept: The numbers of those up to ``seq`` of which something is kept, and what. A peer
                that had everything has everything still.
            dropped: Blobs that only wait for collection now, however new they are.
        """

    def scrub(self) -> bool:
        """
        See to it that nothing that was removed is left in any file.

        Returns:
            Whether it is so; not while another process reads, say.
        """

    # Conversations

    def conversations(self) -> list[ConversationInfo]:
        """Return all conversations, the one that changed last first."""

    def has(self, conversation: str) -> bool:
        """Whether anything of this conversation is in the log."""

    def describe(self, conversation: ConversationId, listed: Listed) -> None:
        """Keep what the list shows."""

    def delete(self, conversation: ConversationId, *, at_ms: int, blobs: Iterable[str] = ()) -> None:
        """
        Remove all that is kept of a conversation, and put a tombstone in its place, which stays.

        Args:
            conversation: Which; where nothing is kept of it, the tombstone alone is put.
            at_ms: When, for the tombstone.
            blobs: What only waits for collection now, however new it is.
        """

    def is_deleted(self, conversation: str) -> bool:
        """Whether there is a tombstone for a conversation."""

    def tombstones(self) -> list[ConversationId]:
        """Return all conversations that were deleted."""

    # Blobs

    def put_blob(self, data: bytes) -> str:
        """Keep bytes under their SHA-256, which is returned as hexadecimal digits."""

    def get_blob(self, sha256: str) -> bytes | None:
        """Return the bytes, or ``None`` where they are not here."""

    def has_blob(self, sha256: str) -> bool:
        """Whether a blob is here."""

    def collect_blobs(self, used: Iterable[str], *, before_ms: int) -> int:
        """Remove every blob that is not in use and was put before some time; returns how many."""

    # Leases

    def acquire_lease(self, name: str, owner: str, *, at_ms: int, until_ms: int) -> int | None:
        """
        Take or renew a lease, atomically.

        Args:
            name: What is leased, a run say.
            owner: Who asks. An owner who holds it renews it and keeps the epoch.
            at_ms: Now.
            until_ms: When it ends by itself.

        Returns:
            The epoch, one higher with every new owner; ``None`` while another holds it.
        """

    def release_lease(self, name: str, owner: str) -> None:
        """End a lease now, if this owner holds it; the epoch stays."""

    # What peers have

    def acknowledged(self, peer: str, conversation: ConversationId) -> int:
        """Return the ``seq`` up to which a peer has everything."""

    def acknowledge(self, peer: str, conversation: ConversationId, seq: int) -> None:
        """Write down that a peer has everything up to ``seq``; never backwards."""

    def peers(self) -> list[str]:
        """Return everybody who acknowledged anything of a conversation that is here, in order."""

    def waiting(self, peer: str, conversation: ConversationId) -> int:
        """
        Count the updates that did not come from a peer and that it has not acknowledged.

        What a snapshot replaced counts on, until the peer has acknowledged all of it.
        """

    # Settings

    def setting(self, key: str) -> str:
        """Return a setting, or ``""``."""

    def set_setting(self, key: str, value: str) -> str:
        """Write a setting down; returns it."""
