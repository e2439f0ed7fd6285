"""
What happens in conversations, for readers that come and go.

Every change gets a number. A reader is told *what* changed, and reads how it stands when it
is sent: a slow one gets many changes of a message as one. One that comes back with the number
of the last event it saw gets what changed since; where that is not remembered any more, it is
told to read the log again (``reset``).
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import Final, NamedTuple

import anyio

from crdt_conv import Change, ConversationId, Store

KEPT: Final = 4096
"""So many changes are remembered, of all conversations together."""
WAITING: Final = 1000
"""So many things may wait for one reader, before it is told to read the log again."""


class Topic(NamedTuple):
    """Something that changed: ``kind`` is message, run, title, branches, reset or deleted."""

    kind: str
    id: str = ""


RESET: Final = Topic("reset")
DELETED: Final = Topic("deleted")


class Reader:
    """What waits for one reader. Used from one event loop."""

    def __init__(self, boot: str, count: int) -> None:
        self._boot = boot
        self._count = count
        self._waiting: dict[Topic, int] = {}
        self._wake = anyio.Event()
        self.has_ended = False

    @property
    def event_id(self) -> str:
        """Where somebody who saw all events up to here goes on."""
        # Before the first that waits: what was sent of a later change does no harm twice.
        return f"{self._boot}-{next(iter(self._waiting.values()), self._count + 1) - 1}"

    def offer(self, count: int, topics: list[Topic]) -> None:
        """Hear of a change."""
        self._count = count
        for topic in topics:
            self._waiting.setdefault(topic, count)
        if len(self._waiting) > WAITING:
            self._waiting = {RESET: count}
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

    def __init__(self, store: Store, *, kept: int = KEPT) -> None:
        self._boot = secrets.token_hex(6)
        self._count = 0
        self._kept: deque[tuple[int, str, list[Topic]]] = deque(maxlen=kept)
        self._readers: dict[str, set[Reader]] = {}
        self._stop = (store.subscribe(self._on_change), store.subscribe_deleted(self._on_deleted))
        self.has_ended = False

    def __len__(self) -> int:
        return sum(map(len, self._readers.values()))

    def open(self, conversation: str, last_event_id: str | None = None) -> Reader:
        """Return a reader that hears of what changes from now on, or since an event."""
        reader = Reader(self._boot, self._count)
        if last_event_id is not None:
            for count, topics in self._since(conversation, last_event_id):
                reader.offer(count, topics)
        self._readers.setdefault(conversation, set()).add(reader)
        if self.has_ended:
            reader.end()
        return reader

    def _since(self, conversation: str, last_event_id: str) -> list[tuple[int, list[Topic]]]:
        boot, _, digits = last_event_id.rpartition("-")
        seen = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else -1
        oldest = self._kept[0][0] if self._kept else self._count + 1
        if boot != self._boot or not oldest - 1 <= seen <= self._count:
            return [(self._count, [RESET])]
        return [
            (count, topics) for count, name, topics in self._kept if name == conversation and count > seen
        ]

    def leave(self, conversation: str, reader: Reader) -> None:
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
        self._tell(change.conversation, _topics(change))

    def _on_deleted(self, conversation: ConversationId) -> None:
        self._tell(conversation, [DELETED])
        for reader in tuple(self._readers.get(conversation, ())):
            reader.end()

    def _tell(self, conversation: str, topics: list[Topic]) -> None:
        if not topics:
            return
        self._count += 1
        self._kept.append((self._count, conversation, topics))
        for reader in tuple(self._readers.get(conversation, ())):
            reader.offer(self._count, topics)


def _topics(change: Change) -> list[Topic]:
    topics = [Topic("message", message_id) for message_id in sorted(change.messages)]
    topics += [Topic("run", run_id) for run_id in sorted(change.runs)]
    if "meta" in change.roots:
        topics.append(Topic("title"))
    if change.roots & {"branches", "choices"}:
        topics.append(Topic("branches"))
    return topics
