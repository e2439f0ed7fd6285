"""
The store: all conversations of one device, in one file.

It hands out one live ``Conversation`` for an id, so that everything in this
process sees the same replica, and stands behind each as its log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from crdt_conv import schema
from crdt_conv.conversation import Conversation
from crdt_conv.errors import InvalidMessage, StoreReadOnly, UnknownConversation
from crdt_conv.ids import ConversationId, new_id, now_ms
from crdt_conv.message import Author
from crdt_conv.store.lock import WriterLock
from crdt_conv.store.sqlite import ConversationInfo, Row, SqliteLog
from crdt_conv.views import Change


class Store:
    """
    A file of conversations.

    Example:
        >>> with Store(":memory:") as store:
        ...     conv = store.create(title="Trip")
        ...     message = conv.append("user", "Where shall we go?")
        ...     [shown.text for shown in conv.log().messages]
        ['Where shall we go?']
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str = "",
        device: str | None = None,
        read_only: bool = False,
        program: str = "a crdt-conv program",
    ) -> None:
        """
        Open a store, made where it is missing.

        Args:
            path: A file, or ``:memory:``.
            name: The person's name, for ``author``.
            device: This device's id, where it is not the one made with the file.
            read_only: Take no lock; reading goes on beside a writer.
            program: What another process is told when it finds the store locked.

        Raises:
            StoreLocked: Another process writes to it.
            StoreError: It can't be opened.
        """
        self.path = path
        is_file = str(path) != ":memory:" and not read_only
        self._lock = WriterLock(Path(path), program) if is_file else None
        try:
            self.log = SqliteLog(path, read_only=read_only)
            self.device = device or self._own_device(read_only=read_only)
        except BaseException:
            self._unlock()
            raise
        self._author = Author("human", self.device, name)
        self._live: WeakValueDictionary[str, Conversation] = WeakValueDictionary()
        self._subscribers: dict[object, Callable[[Change], None]] = {}
        self._read_only = read_only

    def _own_device(self, *, read_only: bool) -> str:
        known = self.log.setting("device")
        return known or ("" if read_only else self.log.set_setting("device", new_id()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let another process write to it."""
        self.log.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def publish(self, url: str) -> None:
        """Tell other processes of this machine where this store's daemon listens."""
        if self._lock is not None:
            self._lock.publish(url)

    # Conversations

    def create(self, title: str = "", *, conversation_id: str | None = None) -> Conversation:
        """
        Make a new conversation.

        Args:
            title: What people call it.
            conversation_id: An id that was made elsewhere.

        Raises:
            InvalidMessage: The id is taken, or can't be one.
            StoreError: It could not be made durable.
        """
        conversation = self.join(conversation_id or new_id())
        if self.log.has(conversation.id):
            raise InvalidMessage(f"there is a conversation {conversation_id} already")
        values = {"schema": schema.SCHEMA, "created": conversation.next_created(), "title": title}
        with conversation.writing() as document:
            for key, value in values.items():
                document.put("meta", key, value)
        return conversation

    def open(self, conversation_id: str) -> Conversation:
        """
        Return a conversation of this store.

        Raises:
            UnknownConversation: It is not here.
        """
        if conversation_id not in self._live and not self.log.has(conversation_id):
            raise UnknownConversation(conversation_id)
        return self.join(conversation_id)

    def join(self, conversation_id: str) -> Conversation:
        """
        Return a conversation that may exist only elsewhere yet; nothing is written until something comes.

        Raises:
            InvalidMessage: This can't be an id.
        """
        if not 0 < len(conversation_id) <= 200 or not conversation_id.isprintable():
            raise InvalidMessage("a conversation's id has 1 to 200 printable characters")
        conversation = self._live.get(conversation_id)
        if conversation is None:
            conversation = Conversation(ConversationId(conversation_id), self, self._author)
            conversation.subscribe(self._on_change)
            self._live[conversation_id] = conversation
        return conversation

    def list(self) -> Sequence[ConversationInfo]:
        """Return all conversations, the one that changed last first."""
        return self.log.conversations()

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback``, which must not raise, for every durable change; returns the way to stop it."""
        # The way out knows a key, not the callback, whose owner may keep it: no cycle.
        key = object()
        self._subscribers[key] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    def _on_change(self, change: Change) -> None:
        for callback in tuple(self._subscribers.values()):
            callback(change)

    # What a conversation needs of its log

    def append(self, conversation: ConversationId, update: bytes, origin: str | None) -> int:
        """Make one update durable; see ``UpdateLog``."""
        return self.append_many([Row(conversation, update, origin)])[0]

    def append_many(self, rows: Sequence[Row]) -> Sequence[int]:
        """
        Make several updates durable with one fsync; may be called from another thread.

        Raises:
            StoreError: None of them is durable.
        """
        if self._read_only:
            raise StoreReadOnly(f"{self.path} was opened for reading only")
        return self.log.append(rows, at_ms=now_ms())

    def read(self, conversation: ConversationId) -> Sequence[bytes]:
        """Return all updates of a conversation in sequence."""
        return [update for _, update in self.log.read(conversation)]

    def discard(self, seq: int) -> None:
        """Take back an update; see ``UpdateLog``."""
        self.log.discard(seq)

    def describe(self, conversation: ConversationId, title: str) -> None:
        """Keep what ``list`` shows."""
        self.log.describe(conversation, title)

    def last_seq(self, conversation: ConversationId) -> int:
        """Return the highest sequence number of a conversation, 0 without any."""
        return self.log.last_seq(conversation)

    def acknowledge(self, peer: str, conversation: ConversationId, seq: int) -> None:
        """Write down that a peer has everything up to ``seq``."""
        self.log.acknowledge(peer, conversation, seq)

    def waiting(self, peer: str, conversation: ConversationId) -> int:
        """Count the updates that a peer has not acknowledged."""
        return self.log.waiting(peer, conversation)
