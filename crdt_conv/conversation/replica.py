"""
The replica of a conversation: its document and index, bound to the log that makes them durable.

Rules. What comes from elsewhere is appended to the log before it is applied;
what is written here is one transaction, appended before the call returns. If
the log can't take it, it did not happen: the replica is read again from the
log. Subscribers hear of a change when it is durable, never before.

The document is read from the log when something is written or exchanged; the
index alone is enough to read messages, and may come from where it was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from crdt_conv.checks import check_text
from crdt_conv.clock import HybridClock
from crdt_conv.conversation.listed import listed_of
from crdt_conv.conversation.views import Change
from crdt_conv.document.changes import Changes
from crdt_conv.document.document import Document
from crdt_conv.document.index import Index
from crdt_conv.document.subscribers import Subscribers
from crdt_conv.engine import Listed, StoredIndex, Tail
from crdt_conv.errors import (
    ConversationDeleted,
    IndexLost,
    InvalidMessage,
    MalformedUpdate,
    StoreError,
    told_of,
)
from crdt_conv.garbage import collecting_later
from crdt_conv.graph.graph import Graph
from crdt_conv.ids import ConversationId, MessageId
from crdt_conv.messages.fields import Json
from crdt_conv.messages.message import REDACTED, Author, Message, parse_message
from crdt_conv.messages.node import Node
from crdt_conv.update_log import UpdateLog
from crdt_conv.yjs.coalesce import merge_written
from crdt_conv.yjs.encoded import EncodedDocument
from crdt_conv.yjs.encoding import Additions, MapOf
from crdt_conv.yjs.updates import check_update

ADDITIONS: Final = 1000
"""So many messages are added with one Yjs client id."""


class Replica:
    """One conversation's document, index and log. Not to be used from two threads."""

    def __init__(self, conversation_id: ConversationId, log: UpdateLog, author: Author) -> None:
        self.id = conversation_id
        self.author = author
        self._log = log
        self._clock = HybridClock()
        self._subscribers: Subscribers[Change] = Subscribers()
        self._document: Document | None = None
        self._index: Index | None = None
        self._additions: Additions | None = None
        self._seq = 0
        self._is_writing = False
        self._is_deleted = False

    # What is in memory

    @property
    def document(self) -> Document:
        """The Y.Doc, read from the log where it is not in memory."""
        if self._document is None:
            self._check_not_deleted()
            rows = self._log.read(self.id)
            self._document = Document(update for _, update in rows)
            last = max(rows[-1][0], 0) if rows else 0
            if last != self._seq:
                # Another process wrote since the index was made.
                self._index = None
            self._seq = last
        return self._document

    @property
    def index(self) -> Index:
        """What the document says, read from where it was stored or from the document."""
        if self._index is None:
            self._check_not_deleted()
            stored = self._stored_index()
            self._index = index = stored or self._read_index()
            if stored is None:
                self._clock.see(self._index.graph.latest)
                self._describe()
                redacted = {node.id for node in self._index.graph if node.status == REDACTED}
                if redacted:
                    # Whoever heard of it may have ended before anything came of it.
                    self._log.redacted(self.id)
                self._log.changed(self, 0)
                self._sweep(redacted)
            # Where it could not be swept, on a full disk, it is read again when next asked.
            return index
        return self._index

    @property
    def title(self) -> str:
        """What people call it; may be empty."""
        return self._listed.title

    @title.setter
    def title(self, title: str) -> None:
        check_text(title)
        with self.writing() as document:
            document.put("meta", "title", title)

    @property
    def is_archived(self) -> bool:
        """Whether it was put away: lists show it only where it is asked for."""
        return self._listed.is_archived

    @property
    def forked_from(self) -> ConversationId | None:
        """The conversation that this one was forked from, if it was."""
        return self._listed.forked_from

    @property
    def _listed(self) -> Listed:
        return listed_of(self.id, self.index.roots["meta"])

    @property
    def graph(self) -> Graph[Node]:
        """The graph of all messages that have the shape of one."""
        return self.index.graph

    def _stored_index(self) -> Index | None:
        store = self._log.index()
        stored = store.load(self.id) if store is not None and self._document is None else None
        if stored is None:
            return None
        return self._load_index(stored)

    def _load_index(self, stored: StoredIndex) -> Index:
        index = Index(self._ask)
        index.load(stored)
        self._seq = stored.seq
        self._clock.see(index.graph.latest)
        return index

    def read(self, root: str, key: str | None = None) -> Json:
        """Return a root of the document, or one entry of it, as JSON."""
        return self.document.read(root, key)

    def read_entries(self, root: str, keys: Collection[str]) -> dict[str, Json]:
        """Return some entries of a root of the document, those that are there."""
        return self.document.read_entries(root, keys)

    def _read_index(self) -> Index:
        document = self.document
        index = Index(self._ask)
        index.read(document)
        return index

    def _ask(self, message_ids: Sequence[MessageId]) -> list[Message]:
        """Return messages whose content is not in memory, from the stored index or the document."""
        index, store = self.index, self._log.index()
        if store is not None and all(index.is_saved(message_id) for message_id in message_ids):
            try:
                return store.messages(self.id, [index.place(message_id) for message_id in message_ids])
            except IndexLost:
                index.unsave()
        # Where something is not stored the document is in memory: it was changed here.
        raw = self.document.read_entries("messages", message_ids)
        return [parse_message(key, raw[key]) for key in message_ids]

    def _forget(self) -> None:
        """Read the replica again when next asked: it may hold what the log does not."""
        self._document = self._index = self._additions = None

    def mark_deleted(self) -> None:
        """Hear that the store has deleted this conversation: whoever still holds it is told so."""
        self._is_deleted = True
        self._forget()

    def _check_not_deleted(self) -> None:
        if self._is_deleted:
            raise ConversationDeleted(self.id)

    def save_index(self) -> None:
        """
        Store the index, for a quick start next time. Never needed: it is derived.

        Raises:
            StoreError: The file can't take it.
        """
        store = self._log.index()
        if store is None or self._index is None or (self._document and self._document.is_pending):
            return
        self._follow_numbers()
        try:
            store.write(self.id, self._index.change(self._seq, self._tails()))
        except IndexLost:
            self._index.unsave()
            store.write(self.id, self._index.change(self._seq, self._tails()))
        self._index.saved()

    def _follow_numbers(self) -> None:
        """Take note of the numbers that a compaction gave to what waited when it began, and is applied."""
        if self._document is None or self._log.last_seq(self.id) <= self._seq:
            return
        new = [(seq, update) for seq, update in self._log.read(self.id) if seq > self._seq]
        # Another may have written to the file, and what nobody checked is not read.
        with suppress(MalformedUpdate):
            self._seq = self._seq if any(self.is_news(update) for _, update in new) else new[-1][0]

    def _tails(self) -> Mapping[str, Tail]:
        """Return the ends of branches, to be stored; see ``Reading``."""
        return {}

    @property
    def unsaved(self) -> int:
        """How many messages changed since the index was stored."""
        return self._index.unsaved if self._index is not None else 0

    # Writing

    @contextmanager
    def writing(self) -> Iterator[Document]:
        """
        Make changes as one durable update; an error leaves no trace of them.

        Raises:
            InvalidMessage: A value can't be in a document, or a change is being made already.
            StoreError: The log could not take it.
        """
        self._check_not_writing()
        document, index = self.document, self.index
        self._is_writing = True
        try:
            with document.transaction() as changes:
                yield document
            if not changes.update:
                return
            listed = listed_of(self.id, document.read("meta")) if "meta" in changes.roots else None
            self._seq = self._log.append(self.id, changes.update, None, listed)
            index.settle(changes, document)
        except BaseException as error:
            self._forget()
            told = told_of(error)
            if told is error:
                raise
            raise told from error
        finally:
            self._is_writing = False
        self._announce(changes, self._seq, None, is_listed=True)

    def _add(self, entries: Mapping[str, MapOf], written: Sequence[Message]) -> None:
        """
        Write new messages of plain values as one durable update, without the document.

        Raises:
            InvalidMessage: A value can't be in a document, or a change is being made already.
            StoreError: The log could not take it.
        """
        self._check_not_writing()
        index = self.index
        if self._additions is None or self._additions.count >= ADDITIONS:
            self._additions = Additions()
        try:
            update = self._additions.encode("messages", entries)
            self._seq = self._log.append(self.id, update, None)
        except BaseException:
            # What comes next must not depend on what the log does not hold.
            self._additions = None
            raise
        has_gap = self._document is not None and self._document.is_pending
        if has_gap:
            # What waits may wait for this.
            changes = self._read_again(update)
        else:
            if self._document is not None:
                self._document.take(update)
            ids = {message.id for message in written}
            changes = Changes(update, messages=ids, written={message.id: message for message in written})
            index.settle(changes, self)
        self._announce(changes, self._seq, None, is_listed=not has_gap)

    def _check_not_writing(self) -> None:
        if self._is_writing:
            raise InvalidMessage("a change of this conversation is being made already: make them one")

    def _describe(self) -> None:
        # Only for the list, and written again when next opened: what is durable is told all the same.
        with suppress(StoreError):
            self._log.describe(self.id, self._listed)

    def next_created(self) -> int:
        """Return a ``created`` in milliseconds that is behind nothing seen."""
        self.index  # noqa: B018 - reading it shows the clock what was written
        return self._clock.next()

    # Exchange with other replicas

    @property
    def state_vector(self) -> bytes:
        """Which operations this replica has."""
        return self.document.state_vector

    def encode(self, state_vector: bytes | None = None) -> bytes:
        """
        Return the whole document, or what a state vector lacks, as one update.

        Raises:
            MalformedUpdate: ``state_vector`` is none.
        """
        try:
            return self.document.encode(state_vector)
        except MalformedUpdate:
            # Not every document that yrs reads can it encode; the bytes of the log merge without it.
            log = EncodedDocument(update for _, update in self._log.read(self.id))
            return log.encode(state_vector or b"\0")

    def receive(self, update: bytes, origin: str | None = None) -> bool:
        """
        Take in an update from another replica: append, then apply.

        Args:
            update: Bytes from a stranger.
            origin: The peer it came from.

        Returns:
            Whether it held anything new.

        Raises:
            MalformedUpdate: It is no update; nothing changed.
            StoreError: It could not be made durable; nothing changed.
        """
        if not self.is_news(update):
            return False
        self.apply_logged(update, self._log.append(self.id, update, origin), origin)
        return True

    def is_news(self, update: bytes) -> bool:
        """
        Whether an update holds anything that is not here, so that it is worth a place in the log.

        Raises:
            MalformedUpdate: It is no update.
        """
        check_update(update)
        return not self.document.is_redundant(update)

    def apply_logged(self, update: bytes, seq: int, origin: str | None = None) -> None:
        """
        Apply an update that stands in the log already, for whoever appends in groups.

        Raises:
            MalformedUpdate: It can't be integrated; it is taken back from the log.
        """
        self.catch_up([(seq, update)], origin)

    def catch_up(self, rows: Sequence[tuple[int, bytes]], origin: str | None = None) -> None:
        """
        Apply updates that stand in the log already, as one change.

        Args:
            rows: ``(seq, update)``, one or more, in sequence.
            origin: Where all of them came from.

        Raises:
            MalformedUpdate: Some can't be integrated, and are taken back from the log; the others count.
            ConversationDeleted: It is gone, and they with it.
        """
        self._check_not_deleted()
        with collecting_later(sum(len(update) for _, update in rows)):
            self._catch_up(rows, origin)

    def _catch_up(self, rows: Sequence[tuple[int, bytes]], origin: str | None) -> None:
        if self._document is None and self._index is None:
            self._open_behind(rows[0][0])
        try:
            changes = self._apply_all(rows)
        except MalformedUpdate:
            for seq, _ in rows:
                self._log.changed(self, seq)
            if len(rows) == 1:
                self._log.discard(rows[0][0])
                raise
            self._catch_up_singly(rows, origin)
            return
        last = rows[-1][0]
        self._seq = max(self._seq, last)
        self._announce(changes, last, origin)
        for seq, _ in rows[:-1]:
            self._log.changed(self, seq)
        self._sweep(changes.messages)

    def _catch_up_singly(self, rows: Sequence[tuple[int, bytes]], origin: str | None) -> None:
        refused: MalformedUpdate | None = None
        for row in rows:
            try:
                self.catch_up([row], origin)
            except MalformedUpdate as error:
                refused = error
        if refused is not None:
            raise refused

    def _apply_all(self, rows: Sequence[tuple[int, bytes]]) -> Changes:
        document = self._document
        update = rows[0][1] if len(rows) == 1 else merge_written([update for _, update in rows])
        # With no document in memory, reading the log reads this update with it.
        return self._read_again(update) if document is None else self._apply(document, update)

    def _apply(self, document: Document, update: bytes) -> Changes:
        index = self.index
        changes = document.apply(update)
        if changes is None:
            changes = self._read_again(update, document.noticed)
            if self.document.refused > document.refused:
                self._forget()
                raise MalformedUpdate("an update that can't be integrated")
            return changes
        changes.update = update
        index.settle(changes, document)
        return changes

    def _open_behind(self, seq: int) -> None:
        """Open as it was before an update, where the stored index is as new as that."""
        store = self._log.index()
        stored = store.load(self.id, before=seq) if store is not None else None
        if stored is None:
            return
        self._document = Document(update for at, update in self._log.read(self.id) if at < seq)
        self._index = self._load_index(stored)

    def _read_again(self, update: bytes, noticed: Collection[MessageId] = ()) -> Changes:
        """
        Build the replica anew from the log; returns how it differs from what it was.

        For where Yjs does not tell of all that an update did; ``noticed`` is what it did tell of.
        """
        index = self._index
        before, roots = (index.contents(), index.roots) if index is not None else ({}, {})
        self._forget()
        messages = self.index.differs(before).union(key for key in noticed if key in self.graph)
        differing = {name for name, root in self.index.roots.items() if root != roots.get(name, {})}
        return Changes(update, messages, set(self.document.read("runs")), differing)

    def _sweep(self, changed: Iterable[MessageId]) -> None:
        """Do what must follow a change from elsewhere; see ``Writing``."""

    @property
    def last_seq(self) -> int:
        """The sequence number of the last update in the log; 0 without any."""
        return self._log.last_seq(self.id)

    def acknowledge(self, peer: str, seq: int) -> None:
        """Write down that a peer has stored everything up to ``seq``."""
        self._log.acknowledge(peer, self.id, seq)

    def waiting(self, peer: str) -> int:
        """Count the updates that a peer has not stored yet, as far as we were told."""
        return self._log.waiting(peer, self.id)

    # Telling others

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback``, which must not raise, for every durable change; returns the way to stop it."""
        return self._subscribers.add(callback)

    @property
    def is_watched(self) -> bool:
        """Whether anybody besides the store hears of every change."""
        return len(self._subscribers) > 1

    def _announce(self, changes: Changes, seq: int, origin: str | None, *, is_listed: bool = False) -> None:
        graph = self.graph
        for message_id in changes.messages:
            node = graph.find(message_id)
            if node is not None:
                self._clock.see(node.created)
        if "meta" in changes.roots and not is_listed:
            self._describe()
        redacted = frozenset(m for m in changes.messages if m in graph and graph[m].status == REDACTED)
        if redacted:
            self._log.redacted(self.id)
        self._log.changed(self, seq)
        change = Change(
            self.id,
            changes.update,
            seq,
            origin,
            frozenset(changes.messages),
            frozenset(changes.runs),
            redacted,
            frozenset(changes.roots),
        )
        self._subscribers.tell(change)
