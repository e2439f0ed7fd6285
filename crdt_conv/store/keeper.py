"""
What a store does for its conversations behind their backs.

It is each one's log, stores indexes as they grow, and has logs compacted in a
thread of their own when they have grown. All that is derived here may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from crdt_conv.engine import Engine, IndexStore, Listed, LogSize, Row
from crdt_conv.errors import StoreError, StoreReadOnly
from crdt_conv.garbage import MUCH_BYTES, give_back
from crdt_conv.ids import ConversationId, now_ms
from crdt_conv.store.blobs import collect_blobs
from crdt_conv.store.compaction import Compaction, Compactor, compact_log, erase_key, is_due
from crdt_conv.store.damage import Damage
from crdt_conv.store.family import family_of
from crdt_conv.store.healing import HealingIndex
from crdt_conv.store.unapplied import Unapplied
from crdt_conv.update_log import Indexed

T = TypeVar("T")

UNSAVED_MESSAGES: Final = 64
"""So many messages of a conversation change before its index is stored again."""
UNSAVED_CONVERSATIONS: Final = 8
"""So many conversations are kept in memory because their index is not stored yet."""


class Keeper:
    """The log of every conversation of a store; see ``UpdateLog``."""

    def __init__(self, engine: Engine, path: str | Path, *, read_only: bool) -> None:
        self.engine = engine
        self.path = path
        self._read_only = read_only
        index = engine.index
        self._index = HealingIndex(index, path, read_only=read_only) if index is not None else None
        self._compacting = Lock()
        self._compactor = Compactor(self._compact)
        # What the index of a conversation does not hold yet: updates in the log, and messages.
        self._unapplied = Unapplied()
        self._unsaved: dict[str, Indexed] = {}
        self._sizes: dict[str, LogSize] = {}
        self._forked_from: dict[str, str] | None = None
        # Conversations whose redactions their forks have heard of, since this store was opened.
        self._carried: set[str] = set()

    def _finish(self) -> None:
        """End what is under way, and store what is new in indexes."""
        self._compactor.close()
        # Derived: what the file can't take is made anew when next opened.
        with suppress(StoreError):
            self.flush()
        self._unsaved.clear()

    # The log

    @property
    def is_writable(self) -> bool:
        """Whether the store was opened for writing."""
        return not self._read_only

    def index(self) -> IndexStore | None:
        """Where indexes are kept, if they are."""
        return self._index

    @property
    def healed(self) -> Sequence[Damage]:
        """What was damaged and derived, and was thrown away since this store was opened."""
        return tuple(self._index.healed) if self._index is not None else ()

    def _healing(self, act: Callable[[], T]) -> T:
        """Do something for which the engine may need the stored index, which may be damaged."""
        return self._index.healing(act) if self._index is not None else act()

    def changed(self, replica: Indexed, seq: int) -> None:
        """Hear that a conversation's index holds an update now."""
        self._unapplied.discard([(replica.id, seq)])
        if self._read_only or self.engine.index is None:
            return
        self._unsaved[replica.id] = replica
        # Derived: where the file can't take it, it is made anew when next opened.
        with suppress(StoreError):
            # Not while somebody waits for it to be opened: one made anew is stored with the next change.
            if seq and replica.unsaved >= UNSAVED_MESSAGES:
                self._save(replica)
            elif len(self._unsaved) > UNSAVED_CONVERSATIONS:
                self._save(next(iter(self._unsaved.values())))

    def append(
        self, conversation: ConversationId, update: bytes, origin: str | None, listed: Listed | None = None
    ) -> int:
        """Make one update durable; see ``UpdateLog``."""
        return self.append_many([Row(conversation, update, origin, listed)])[0]

    def append_many(self, rows: Sequence[Row]) -> Sequence[int]:
        """
        Make several updates durable with one fsync; may be called from another thread.

        Raises:
            StoreError: None of them is durable.
        """
        self._check_writable()
        # Before they have a number, too: an index that is stored meanwhile would seem to hold them.
        under_way = object()
        self._unapplied.add((row.conversation, under_way) for row in rows)
        try:
            seqs = self.engine.append(rows, at_ms=now_ms())
            self._unapplied.add((row.conversation, seq) for row, seq in zip(rows, seqs, strict=True))
        finally:
            self._unapplied.discard((row.conversation, under_way) for row in rows)
        for row in rows:
            if row.listed is not None:
                self._note_origin(row.conversation, row.listed)
        # They are durable: what is only counted may fail.
        with suppress(StoreError):
            self._note_growth(rows)
        return seqs

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreReadOnly(f"{self.path} was opened for reading only")

    def _note_growth(self, rows: Sequence[Row]) -> None:
        for row in rows:
            size = self._sizes.get(row.conversation)
            if size is None:
                size = self.engine.size(row.conversation)
            else:
                size = size._replace(updates=size.updates + len(row.update), rows=size.rows + 1)
            self._sizes[row.conversation] = size
            if is_due(size):
                # Asked again when it has grown as much once more, should it not be possible now.
                self._sizes[row.conversation] = size._replace(
                    snapshot=size.snapshot + size.updates, updates=0
                )
                self._compactor.add(row.conversation)

    def read(self, conversation: ConversationId) -> Sequence[tuple[int, bytes]]:
        """Return all updates of a conversation in sequence, each behind its number."""
        return self.engine.read(conversation)

    def discard(self, seq: int) -> None:
        """Take back an update; see ``UpdateLog``."""
        self.engine.discard(seq)
        self._unapplied.discard_everywhere(seq)

    def describe(self, conversation: ConversationId, listed: Listed) -> None:
        """Keep what ``list`` shows."""
        self._note_origin(conversation, listed)
        self.engine.describe(conversation, listed)

    def redacted(self, conversation: ConversationId) -> None:
        """Hear that something of a conversation is to be erased; see ``UpdateLog``."""
        if not self._read_only:
            self._carried.discard(conversation)
            # A file that can't take it takes no index either, and who makes that anew says so again.
            with suppress(StoreError):
                self.engine.set_setting(erase_key(conversation), "1")

    def _note_origin(self, conversation: ConversationId, listed: Listed) -> None:
        if listed.forked_from is not None:
            self._origins()[conversation] = listed.forked_from

    def last_seq(self, conversation: ConversationId) -> int:
        """Return the highest sequence number of a conversation, 0 without any."""
        return self.engine.last_seq(conversation)

    def acknowledge(self, peer: str, conversation: ConversationId, seq: int) -> None:
        """Write down that a peer has everything up to ``seq``."""
        self.engine.acknowledge(peer, conversation, seq)

    def waiting(self, peer: str, conversation: ConversationId) -> int:
        """Count the updates that a peer has not acknowledged."""
        return self.engine.waiting(peer, conversation)

    def put_blob(self, data: bytes) -> str:
        """
        Keep bytes under their SHA-256; what no message refers to within a day is removed.

        Raises:
            StoreError: They could not be made durable.
        """
        self._check_writable()
        return self.engine.put_blob(data)

    def get_blob(self, sha256: str) -> bytes | None:
        """Return the bytes, or ``None`` where they are not here."""
        return self.engine.get_blob(sha256)

    def has_blob(self, sha256: str) -> bool:
        """Whether a blob is here."""
        return self.engine.has_blob(sha256)

    # Indexes

    def flush(self) -> None:
        """
        Store what is new in the indexes of conversations.

        Raises:
            StoreError: The file can't be written.
        """
        for replica in tuple(self._unsaved.values()):
            self._save(replica)

    def let_go(self, conversation_id: str) -> None:
        """Hold a conversation in memory no longer than others do: store its index now."""
        # Counted anew when it next grows.
        self._sizes.pop(conversation_id, None)
        replica = self._unsaved.pop(conversation_id, None)
        if replica is not None:
            # Derived: where the file can't take it, it is made anew when next opened.
            with suppress(StoreError):
                self._save(replica)
            self._unsaved.pop(conversation_id, None)

    def _drop(self, conversation_id: str) -> None:
        """Forget what is remembered of a conversation that was deleted."""
        self._unsaved.pop(conversation_id, None)
        self._unapplied.forget(conversation_id)
        self._sizes.pop(conversation_id, None)
        if self._forked_from is not None:
            self._forked_from.pop(conversation_id, None)

    def _save(self, replica: Indexed) -> None:
        # An update that stands in the log and is not applied would be taken for indexed.
        if replica.id not in self._unapplied:
            replica.save_index()
            self._unsaved.pop(replica.id, None)

    # Compaction

    def _compact(self, conversation: ConversationId) -> Compaction:
        """Compact one; may run in any thread, one at a time."""
        with self._compacting:
            done = self._compact_alone(conversation)
        if done.before.snapshot + done.before.updates > MUCH_BYTES:
            give_back()
        return done

    def _compact_alone(self, conversation: ConversationId) -> Compaction:
        done = self._healing(lambda: compact_log(self.engine, conversation))
        self._sizes.pop(conversation, None)
        if self.engine.setting(erase_key(conversation)) and done.is_done:
            self._erase(conversation, has_gap=bool(done.reason))
        return done

    def _erase(self, conversation: ConversationId, *, has_gap: bool) -> None:
        """See to it that what was redacted is in no file, or leave it for next time."""
        if family_of(conversation, self._origins()) and conversation not in self._carried:
            # A fork may still say it: ``reindex`` tells it, and any change of the conversation.
            return
        index = self.index()
        if index is not None:
            if conversation in index.behind():
                if not has_gap:
                    return
                # While a gap is open none is stored; whoever makes one then has all this done again.
                index.forget(conversation)
            # The compaction may have come before the index was stored.
            index.repack(conversation)
        # Of several deletions the first scrub is for all.
        due = [gone for gone in self.engine.tombstones() if self.engine.setting(erase_key(gone))]
        collect_blobs(self.engine, self.index(), at_ms=now_ms())
        if not self._healing(self.engine.scrub):
            raise StoreError(
                f"{self.path}: another process reads what is to be erased: stop it, and compact again"
            )
        for erased in {conversation, *due}:
            self.engine.set_setting(erase_key(erased), "")

    def _origins(self) -> dict[str, str]:
        """Return what each fork that is a document of its own was forked from."""
        if self._forked_from is None:
            self._forked_from = {
                info.id: info.forked_from for info in self.engine.conversations() if info.forked_from
            }
        return self._forked_from
