"""
The store: all conversations of one device, in one file.

It hands out one live ``Conversation`` for an id, so that everything in this
process sees the same replica. What it does for them unasked is ``keeper``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from crdt_conv.conversation import Conversation
from crdt_conv.conversation.views import Change
from crdt_conv.document import schema
from crdt_conv.document.document import Document
from crdt_conv.document.subscribers import Subscribers
from crdt_conv.engine import ConversationInfo, Engine, Found, Listed
from crdt_conv.errors import (
    ConversationDeleted,
    IndexLost,
    InvalidMessage,
    StoreError,
    UnknownConversation,
)
from crdt_conv.ids import ConversationId, MessageId, new_id, now_ms
from crdt_conv.leases import Leases
from crdt_conv.messages.message import REDACTED, Author
from crdt_conv.store.blobs import collect_blobs
from crdt_conv.store.compaction import Compaction, erase_key
from crdt_conv.store.damage import Damage, Progress
from crdt_conv.store.family import family_of, same_redactions
from crdt_conv.store.keeper import Keeper
from crdt_conv.store.lock import WriterLock
from crdt_conv.store.sqlite.backup import backup
from crdt_conv.store.sqlite.check import check
from crdt_conv.store.sqlite.engine import SqliteEngine
from crdt_conv.yjs.updates import merge_updates


class Store(Keeper):
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
        path: str | Path = ":memory:",
        *,
        name: str = "",
        device: str | None = None,
        read_only: bool = False,
        program: str = "a crdt-conv program",
        engine: Engine | None = None,
    ) -> None:
        """
        Open a store, made where it is missing.

        Args:
            path: A file, or ``:memory:``.
            name: The person's name, for ``author``.
            device: This device's id, where it is not the one made with the file.
            read_only: Take no lock; reading goes on beside a writer.
            program: What another process is told when it finds the store locked.
            engine: What keeps it all, where it is not a file at ``path``; see ``crdt_conv.engine``.

        Raises:
            StoreLocked: Another process writes to it.
            StoreError: It can't be opened.
        """
        is_file = str(path) != ":memory:" and not read_only and engine is None
        self._lock = WriterLock(Path(path), program) if is_file else None
        try:
            super().__init__(engine or SqliteEngine(path, read_only=read_only), path, read_only=read_only)
            self.device = device or self._own_device(read_only=read_only)
        except BaseException:
            self._unlock()
            raise
        self._author = Author("human", self.device, name)
        self.leases = Leases(self.engine)
        """Who may fulfil a run."""
        self._live: WeakValueDictionary[str, Conversation] = WeakValueDictionary()
        self._subscribers: Subscribers[Change] = Subscribers()
        self._deletions: Subscribers[ConversationId] = Subscribers()

    def _own_device(self, *, read_only: bool) -> str:
        known = self.engine.setting("device")
        return known or ("" if read_only else self.engine.set_setting("device", new_id()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let another process write to it."""
        self._finish()
        self.engine.close()
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
            ConversationDeleted: The id was that of a conversation that was deleted.
            StoreError: It could not be made durable.
        """
        conversation = self.join(conversation_id or new_id())
        if self.engine.has(conversation.id):
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
            ConversationDeleted: It was.
        """
        self._check_has(conversation_id)
        return self.join(conversation_id)

    def _check_has(self, conversation_id: str) -> None:
        if self.engine.has(conversation_id):
            return
        gone = ConversationDeleted if self.engine.is_deleted(conversation_id) else UnknownConversation
        raise gone(conversation_id)

    def join(self, conversation_id: str) -> Conversation:
        """
        Return a conversation that may exist only elsewhere yet; nothing is written until something comes.

        Raises:
            InvalidMessage: This can't be an id.
            ConversationDeleted: It was here, and was deleted.
        """
        conversation = self._live.get(conversation_id)
        if conversation is None:
            self.check_joinable(conversation_id)
            conversation = Conversation(ConversationId(conversation_id), self, self._author)
            conversation.subscribe(self._on_change)
            self._live[conversation_id] = conversation
        return conversation

    def check_joinable(self, conversation_id: str) -> None:
        """
        Refuse what can't be joined.

        Raises:
            InvalidMessage: This can't be an id.
            ConversationDeleted: It was here, and was deleted.
        """
        if not 0 < len(conversation_id) <= 200 or not conversation_id.isprintable():
            raise InvalidMessage("a conversation's id has 1 to 200 printable characters")
        if self.engine.is_deleted(conversation_id):
            raise ConversationDeleted(conversation_id)

    def fork(self, conversation_id: str, title: str | None = None) -> Conversation:
        """
        Make a document of its own from a conversation, with all its history.

        ``merge_document`` brings it back whole.

        Args:
            conversation_id: The conversation.
            title: What the fork is called; as the original, where it is left out.

        Raises:
            UnknownConversation: It is not here.
            StoreError: It could not be made durable.
        """
        original = self.open(conversation_id)
        fork = self.join(new_id())
        title = original.title if title is None else title
        # As one update: a fork without its mark would be related to nothing.
        document = Document([original.encode()])
        with document.transaction() as changes:
            document.put("meta", "forked_from", original.id)
            document.put("meta", "title", title)
            if original.is_archived:
                # Whoever forks it works on it.
                document.put("meta", "archived", value=False)
        update = merge_updates([original.encode(), changes.update])
        fork.apply_logged(update, self.append(fork.id, update, None, Listed(title, original.id)))
        return fork

    def delete(self, conversation_id: str) -> None:
        """
        Delete a conversation for good; only a tombstone stays, so that no device brings it back.

        Its bytes leave the file with the compaction that follows by itself; ``compact`` tells
        when. Forks that are documents of their own stay.

        Args:
            conversation_id: The conversation.

        Raises:
            UnknownConversation: It is not here.
            ConversationDeleted: It was deleted before.
            StoreError: It could not be made durable, and is as it was.
        """
        self._check_writable()
        conversation = self.open(conversation_id)
        # Before, so that a crash in between forgets nothing that is to be erased.
        self.engine.set_setting(erase_key(conversation.id), "1")
        blobs = _blobs_of(conversation)
        self._healing(lambda: self.engine.delete(conversation.id, at_ms=now_ms(), blobs=blobs))
        conversation.mark_deleted()
        self._live.pop(conversation.id, None)
        self._drop(conversation.id)
        self._compactor.add(conversation.id)
        self._deletions.tell(conversation.id)

    def subscribe_deleted(self, callback: Callable[[ConversationId], None]) -> Callable[[], None]:
        """Call ``callback``, which must not raise, for every deletion; returns the way to stop it."""
        return self._deletions.add(callback)

    def list(self) -> Sequence[ConversationInfo]:
        """Return all conversations, the one that changed last first."""
        return self.engine.conversations()

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback``, which must not raise, for every durable change; returns the way to stop it."""
        return self._subscribers.add(callback)

    def is_watched(self, conversation_id: str) -> bool:
        """Whether somebody in this process waits for the changes of this one conversation."""
        conversation = self._live.get(conversation_id)
        return conversation is not None and conversation.is_watched

    def _on_change(self, change: Change) -> None:
        self._subscribers.tell(change)
        self._follow_redactions(change)

    # Search

    def search(
        self,
        words: str,
        *,
        limit: int = 20,
        conversation: str | None = None,
        marks: tuple[str, str] = ("[", "]"),
    ) -> Sequence[Found]:
        """
        Return the messages that hold all words, best first.

        Args:
            words: Accents and case don't matter; ``"two words"`` in quotes stand next to each other.
            limit: How many at most.
            conversation: Only in this one.
            marks: Put around what was found, in the snippet.

        Of a store that is open for reading only, what its writer has stored in the
        index is searched: all but the last few messages.

        Raises:
            StoreError: This store keeps no index, or can't be read.

        Example:
            >>> with Store(":memory:") as store:
            ...     message = store.create().append("user", "How do I cook an égg?")
            ...     [found.snippet for found in store.search("egg")]
            ['How do I cook an [égg]?']
        """
        find = partial(self.search_stored, words, limit=limit, conversation=conversation, marks=marks)
        if self._read_only:
            return find()
        self.reindex()
        try:
            return find()
        except IndexLost:
            self.reindex()
            return find()

    def search_stored(
        self, words: str, *, limit: int, conversation: str | None, marks: tuple[str, str]
    ) -> Sequence[Found]:
        """Do what ``search`` does with what is indexed already, behind ``reindex``; in any thread."""
        index = self.index()
        if index is None:
            raise StoreError("this store keeps no index to search in")
        chosen = ConversationId(conversation) if conversation is not None else None
        return index.search(words, limit=limit, conversation=chosen, marks=marks)

    def reindex(self, progress: Callable[[int, int], None] | None = None) -> None:
        """
        Store the index of every conversation that has none as new as its log.

        Args:
            progress: Is told how many are done, of how many.

        Raises:
            StoreError: The file can't be read or written.
        """
        for done, total in self.reindexing():
            if progress is not None:
                progress(done, total)

    def reindexing(self) -> Iterator[tuple[int, int]]:
        """
        Do what ``reindex`` does, a conversation behind each step: how many are done, of how many.

        Raises:
            StoreError: The file can't be read or written.
        """
        self.flush()
        index = self.index()
        behind = index.behind() if index is not None else []
        for done, conversation in enumerate(behind):
            yield done, len(behind)
            if conversation not in self._unapplied and not self.engine.is_deleted(conversation):
                replica = self.join(conversation)
                replica.index  # noqa: B018 - read, so that there is one to save
                replica.save_index()
        self._carry_redactions()

    # Upkeep

    def compact(
        self, conversation_id: str | None = None, progress: Progress | None = None
    ) -> Sequence[Compaction]:
        """
        Replace logs by snapshots, remove blobs that nothing refers to, and erase what was redacted.

        Happens by itself, in a thread, when a log has grown; never needed, but after a
        redaction it tells when the bytes are gone.

        Args:
            conversation_id: Only this one's log.
            progress: Is told how many conversations are done, of how many; what it raises ends the work
                between two of them.

        Returns:
            For each conversation what became of its log, with the reason where nothing did.

        Raises:
            UnknownConversation: It is not here.
            StoreError: The file can't be written, or another process reads what is to be erased.
        """
        if conversation_id is not None:
            self._check_has(conversation_id)
        self._check_writable()
        self.reindex()
        return self.compact_logs(conversation_id, progress)

    def compact_logs(
        self, conversation_id: str | None = None, progress: Progress | None = None
    ) -> Sequence[Compaction]:
        """
        Do what ``compact`` does behind ``reindex``; may run in any thread, while this store is used.

        Raises:
            StoreError: As ``compact``.
        """
        self._compactor.wait()
        chosen = [info.id for info in self.list() if conversation_id in {None, info.id}]
        done: list[Compaction] = []
        for conversation in chosen:
            if progress is not None:
                progress(len(done), len(chosen))
            done.append(self._compact(conversation))
        for deleted in self.engine.tombstones():
            self._compact(deleted)
        collect_blobs(self.engine, self.index(), at_ms=now_ms())
        if isinstance(self.engine, SqliteEngine):
            self.engine.connection.empty_log()
        return done

    def backup(self, target: str | Path, progress: Callable[[int, int], None] | None = None) -> None:
        """
        Copy the whole store as it is now into a new file, while writes go on.

        Args:
            target: The new file; there is nothing under this name before it is complete and on disk.
            progress: Is told how many pages are copied, of how many.

        Raises:
            StoreFull: The disk of ``target`` is full.
            StoreError: ``target`` is there already or can't be written, or this store can't be read.
        """
        if not isinstance(self.engine, SqliteEngine):
            raise StoreError("this store is no file of ours: its engine has its own way to copy it")
        backup(self.engine, Path(target), progress)

    def check(self, progress: Callable[[int, int], None] | None = None) -> Sequence[Damage]:
        """
        Read every byte of the store as it is now, while writes go on, and say what is wrong.

        Nothing is changed. What is canonical is saved by ``recover``; a damaged index is made
        anew by ``clear_index`` and ``reindex``.

        Args:
            progress: Is told how many steps are done, of how many: conversations and blobs, mostly.

        Raises:
            StoreError: The store is closed, or its disk does not answer.
        """
        return check(self.engine, progress)

    def clear_index(self) -> None:
        """
        Throw away what is stored of all conversations besides their logs; ``reindex`` makes it anew.

        Raises:
            StoreError: The file can't be written, or is so damaged that only ``recover`` helps.
        """
        self._check_writable()
        index = self.index()
        if index is not None:
            index.clear()

    def _follow_redactions(self, change: Change) -> None:
        """Carry redactions between a conversation and its forks, and have them erased."""
        if not change.redacted and not self._origins():
            return
        conversation = self._live.get(change.conversation)
        if conversation is None or self._read_only:
            return
        self._carry(conversation, change.messages)
        if change.redacted:
            self._save(conversation)
            self._compactor.add(conversation.id)

    def _carry(self, conversation: Conversation, changed: Iterable[MessageId]) -> None:
        for relative in family_of(conversation.id, self._origins()):
            if self.engine.has(relative):
                same_redactions(conversation, self.open(relative), changed)
        self._carried.add(conversation.id)

    def _carry_redactions(self) -> None:
        """Tell forks what a process that ended too early had not told them."""
        family = {*self._origins(), *self._origins().values()} - self._carried
        for member in family:
            if self.engine.has(member) and self.engine.setting(erase_key(ConversationId(member))):
                conversation = self.open(member)
                redacted = [node.id for node in conversation.graph if node.status == REDACTED]
                self._carry(conversation, redacted)


def _blobs_of(conversation: Conversation) -> set[str]:
    # What can't be read can be deleted all the same: its blobs go when a day has passed.
    with suppress(StoreError):
        return {blob for node in conversation.graph for blob in node.blobs}
    return set()
