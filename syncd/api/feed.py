"""
What happens in conversations, for readers that come and go.

Every change gets a number. A reader is told *what* changed, and reads how it stands when it
is sent: a slow one gets many changes of a message as one. One that comes back with the id
of the last event it saw gets what changed since: from memory, and behind a restart of the server
from the log, for an id also says up to where in the log everything was told. Where neither remembers
it, the reader is told to read the log again (``reset``).

A reader of all conversations is told which of them changed.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import anyio

from crdt_conv import Change, ConversationId, Store
from syncd.api.missed import Topic, missed_topics, topics_of

KEPT: Final = 4096
"""So many changes are remembered, of all conversations together."""
WAITING: Final = 1000
"""So many things may wait for one reader, before it is told to read the log again."""


RESET: Final = Topic("reset")
DELETED: Final = Topic("deleted")


_ID: Final = re.compile(r"([^-]*)-([0-9]{1,18})(?:-([0-9]{1,18}))?")


class _Mark(NamedTuple):
    """Up to where a reader was told: of this server's changes, and of the log; -1 where that is unknown."""

    change: int
    seq: int


class Reader:
    """What waits for one reader. Used from one event loop."""

    def __init__(self, boot: str, count: int, seq: int = -1) -> None:
        self._boot = boot
        self._told = _Mark(count, seq)
        # Each with the mark before it.
        self._waiting: dict[Topic, _Mark] = {}
        self._wake = anyio.Event()
        self.has_ended = False

    @property
    def event_id(self) -> str:
        """Where somebody who saw all events up to here goes on."""
        # Before the first that waits: what was sent of a later change does no harm twice.
        change, seq = next(iter(self._waiting.values()), self._told)
        return f"{self._boot}-{change}" if seq < 0 else f"{self._boot}-{change}-{seq}"

    def offer(self, count: int, topics: list[Topic], seq: int = -1) -> None:
        """Hear of a change; with ``seq``, everything up to there in the log was told with it."""
        before = _Mark(count - 1, self._told.seq)
        self._told = _Mark(count, max(seq, before.seq))
        for topic in topics:
            self._waiting.setdefault(topic, before)
        if len(self._waiting) > WAITING:
            self._waiting = {RESET: before}
        self._wake.set()

    def end(self) -> None:
        """Have the stream end after what waits."""
        self.has_ended = True
        self._wake.set()

    def take(self) -> Topic | None:
        """Return what is to be told next."""
        topic = next(iter(self._waiting), None)
        if topic is not None:
            del self._waiting[topic]
        return topic

    async def wait(self) -> None:
        """Wait until something is to be told, or the stream ends."""
        while not self._waiting and not self.has_ended:
            self._wake = anyio.Event()
            await self._wake.wait()


class Feed:
    """The changes of a store. Used from one event loop."""

    def __init__(
        self, store: Store, *, kept: int = KEPT, is_settled: Callable[[str], bool] = lambda _: True
    ) -> None:
        """
        Follow a store.

        Args:
            store: The store.
            kept: So many changes are remembered.
            is_settled: Whether all that stands in the log of a conversation was told of.
        """
        self._boot = secrets.token_hex(6)
        self._count = 0
        self._store = store
        self._is_settled = is_settled
        self._kept: deque[tuple[int, str, list[Topic]]] = deque(maxlen=kept)
        self._readers: dict[str | None, set[Reader]] = {}
        self._stop = (store.subscribe(self._on_change), store.subscribe_deleted(self._on_deleted))
        self.has_ended = False

    def __len__(self) -> int:
        return sum(map(len, self._readers.values()))

    def open(self, conversation: str | None, last_event_id: str | None = None) -> Reader:
        """Return a reader of one conversation, or of all: of what changes from now on, or since an event."""
        reader = Reader(self._boot, self._count, self._settled_seq(conversation))
        if last_event_id is not None:
            for count, topics in self._since(conversation, last_event_id):
                reader.offer(count, topics)
        self._readers.setdefault(conversation, set()).add(reader)
        if self.has_ended:
            reader.end()
        return reader

    def _settled_seq(self, conversation: str | None) -> int:
        if conversation is None or not self._is_settled(conversation):
            return -1
        return self._store.last_seq(ConversationId(conversation))

    def _since(self, conversation: str | None, last_event_id: str) -> list[tuple[int, list[Topic]]]:
        known = _ID.fullmatch(last_event_id)
        boot, count, seq = known.groups() if known is not None else ("", "-1", None)
        oldest = self._kept[0][0] if self._kept else self._count + 1
        if boot == self._boot and oldest - 1 <= int(count) <= self._count:
            return [
                (at, topics if conversation is not None else _of_all(name, topics))
                for at, name, topics in self._kept
                if conversation in {None, name} and at > int(count)
            ]
        missed = None
        if conversation is not None and seq is not None:
            missed = missed_topics(self._store, ConversationId(conversation), int(seq))
        return [(self._count, [RESET] if missed is None else missed)]

    def leave(self, conversation: str | None, reader: Reader) -> None:
        """Forget a reader."""
        readers = self._readers.get(conversation, set())
        readers.discard(reader)
        if not readers:
            self._readers.pop(conversation, None)

    def close(self) -> None:
        """End all streams, and those that are opened after this."""
        self.has_ended = True
        for stop in self._stop:
            stop()
        for readers in tuple(self._readers.values()):
            for reader in tuple(readers):
                reader.end()

    def _on_change(self, change: Change) -> None:
        seq = change.seq if self._is_settled(change.conversation) else -1
        self._tell(change.conversation, topics_of(change.messages, change.runs, change.roots), seq)

    def _on_deleted(self, conversation: ConversationId) -> None:
        self._tell(conversation, [DELETED], -1)
        for reader in tuple(self._readers.get(conversation, ())):
            reader.end()

    def _tell(self, conversation: str, topics: list[Topic], seq: int) -> None:
        self._count += 1
        self._kept.append((self._count, conversation, topics))
        for reader in tuple(self._readers.get(conversation, ())):
            reader.offer(self._count, topics, seq)
        for reader in tuple(self._readers.get(None, ())):
            reader.offer(self._count, _of_all(conversation, topics))


def _of_all(conversation: str, topics: list[Topic]) -> list[Topic]:
    """Return what a reader of all conversations is told of a change in one."""
    return [Topic("deleted" if topics == [DELETED] else "conversation", conversation)]
