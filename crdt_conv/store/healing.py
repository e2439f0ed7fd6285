"""
A stored index that heals: where it is damaged it is thrown away, and made anew from the log.

What is read instead is the log, so nobody notices but by the time it takes; a
warning says so, and ``Store.healed`` keeps it. A store that is open for reading
only can't throw anything away, and reads the log each time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from crdt_conv.engine import Found, IndexChange, IndexStore, StoredIndex, Tail
from crdt_conv.errors import IndexLost, StoreCorrupt
from crdt_conv.ids import ConversationId
from crdt_conv.messages.message import Message
from crdt_conv.store.damage import Damage

_logger = logging.getLogger(__name__)

T = TypeVar("T")


class HealingIndex:
    """An ``IndexStore`` over another, which may be damaged."""

    def __init__(self, index: IndexStore, path: str | Path, *, read_only: bool) -> None:
        self._index = index
        self._path = path
        self._read_only = read_only
        self._lock = threading.Lock()
        self._is_told = False
        self.healed: list[Damage] = []

    def heal(self, error: StoreCorrupt) -> None:
        """
        Throw the index away, if it is damaged.

        Raises:
            StoreCorrupt: More than the index is damaged.
            StoreError: The file can't be written.
        """
        with self._lock:
            if self._read_only:
                if not self._is_told:
                    _logger.warning("%s: %s; until then everything is read from the log", self._path, error)
                self._is_told = True
                return
            self._index.clear()
            text = "the stored index was damaged: it was thrown away, and is made anew from the log"
            _logger.warning("%s: %s", self._path, text)
            self.healed.append(Damage("index", None, "", text))

    def _or_nothing(self, read: Callable[[], T | None]) -> T | None:
        try:
            return read()
        except IndexLost:
            return None
        except StoreCorrupt as error:
            self.heal(error)
            return None

    def healing(self, act: Callable[[], T]) -> T:
        """Do something once, and once more where the index was damaged."""
        try:
            return act()
        except StoreCorrupt as error:
            if self._read_only:
                raise
            self.heal(error)
            return act()

    # See ``IndexStore``

    def load(self, conversation: ConversationId, *, before: int | None = None) -> StoredIndex | None:
        """Return the index; nothing where it is damaged."""
        return self._or_nothing(lambda: self._index.load(conversation, before=before))

    def tail(self, conversation: ConversationId, branch: str) -> tuple[Tail, Mapping[int, Message]] | None:
        """Return the end of a branch; nothing where it is damaged."""
        return self._or_nothing(lambda: self._index.tail(conversation, branch))

    def messages(self, conversation: ConversationId, places: Sequence[int]) -> list[Message]:
        """Return messages; ``IndexLost`` where they are damaged, or not there."""
        found = self._or_nothing(lambda: self._index.messages(conversation, places))
        if found is None:
            raise IndexLost(f"{self._path}: there is no stored index of {conversation}, or it was damaged")
        return found

    def write(self, conversation: ConversationId, change: IndexChange) -> None:
        """Keep what changed; ``IndexLost`` where what it goes on from was damaged, or is not there."""
        if change.is_whole:
            self.healing(lambda: self._index.write(conversation, change))
            return
        try:
            self._index.write(conversation, change)
        except IndexLost:
            raise
        except StoreCorrupt as error:
            self.heal(error)
            raise IndexLost(f"{self._path}: the stored index was damaged") from error

    def forget(self, conversation: ConversationId) -> None:
        """Throw away the index of one conversation."""
        self.healing(lambda: self._index.forget(conversation))

    def repack(self, conversation: ConversationId) -> None:
        """Drop what is dead."""
        self.healing(lambda: self._index.repack(conversation))

    def behind(self) -> list[ConversationId]:
        """Return the conversations whose index is not as new as their log."""
        return self.healing(self._index.behind)

    def unsure(self) -> list[ConversationId]:
        """Return the conversations that may refer to blobs which ``blobs_in_use`` has not."""
        return self.healing(self._index.unsure)

    def blobs_in_use(self) -> set[str]:
        """Return every blob that an indexed message refers to."""
        return self.healing(self._index.blobs_in_use)

    def clear(self) -> None:
        """Throw all of it away."""
        self._index.clear()

    def search(
        self, words: str, *, limit: int, conversation: ConversationId | None, marks: tuple[str, str]
    ) -> list[Found]:
        """Return the messages that hold all words; ``IndexLost`` where what is searched was damaged."""
        try:
            return self._index.search(words, limit=limit, conversation=conversation, marks=marks)
        except StoreCorrupt as error:
            self.heal(error)
            raise IndexLost(f"{self._path}: the search index is damaged") from error
