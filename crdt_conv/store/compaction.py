"""
Compaction: a snapshot in the place of the log, made only where nothing is lost by it.

The snapshot is made from the log, not from the live document, and off to the
side: writes go on while it is made, and one short transaction puts it in place.
pycrdt drops pending structs and pending deletes when it encodes a document, so
updates of which something waits, or can't be integrated, stay in the log as they
came, behind the snapshot of all the others.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from crdt_conv.document.document import Document
from crdt_conv.engine import Engine, LogSize
from crdt_conv.errors import CrdtConvError, MalformedUpdate
from crdt_conv.ids import ConversationId

_logger = logging.getLogger(__name__)

LEAST_BYTES: Final = 128 * 1024
"""A log behind a snapshot that is smaller than this is left alone."""
# As it stands in an update: every text is there as it is, behind its length.
_SHA256: Final = re.compile(rb"[0-9a-f]{64}")
_TEXT: Final = re.compile(rb"@([0-9a-f]{64})")
SLICE: Final = 256 * 1024
"""So many bytes are searched at a time: others wait for the interpreter meanwhile."""
SHARE: Final = 1.0
"""How large, against the snapshot, the log behind it gets before it is compacted."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What became of a conversation's log; ``reason`` says why something of it stays, or is empty."""

    conversation: ConversationId
    before: LogSize
    after: LogSize
    reason: str = ""
    is_done: bool = True
    """Whether all that can be in the snapshot is: what stands behind it waits, or can't be integrated."""


def is_due(size: LogSize) -> bool:
    """Whether the log behind the snapshot has grown so far that a new snapshot pays."""
    # A single update that no snapshot stands before is as good as one: what a peer sent at once.
    is_one = size.rows == 1 and not size.snapshot
    return not is_one and size.updates > max(LEAST_BYTES, SHARE * size.snapshot)


def compact_log(engine: Engine, conversation: ConversationId) -> Compaction:
    """
    Replace a conversation's log by a snapshot; may run in any thread.

    Raises:
        StoreError: The file can't take it, or is damaged; the log is as it was.
    """
    before = engine.size(conversation)
    rows = engine.read(conversation) if before.rows else []
    if not rows:
        return Compaction(conversation, before, before, "there is nothing behind the snapshot")
    document = Document(update for _, update in rows)
    reason = _reason(document)
    left_over = document.left_over
    behind = rows[1:] if before.snapshot else rows
    kept = {seq: left_over[update] for seq, update in behind if update in left_over}
    is_new = any(kept.get(seq) != update for seq, update in behind)
    if not is_new or not left_over.keys() <= {update for _, update in behind}:
        # Nothing would change; or what was loaded is not what stands in the log, after a panic of pycrdt.
        return Compaction(conversation, before, before, reason, is_done=len(kept) == len(behind))
    try:
        snapshot = document.encode_soundly()
    except MalformedUpdate:
        text = reason or "it holds what can be read, but not encoded"
        return Compaction(conversation, before, before, text, is_done=False)
    # With the log goes the last that names a blob which a redacted message referred to.
    dropped = _referred(update for _, update in rows)
    if dropped:
        dropped -= named_blobs([snapshot, *left_over.values()])
    engine.replace(conversation, rows[-1][0], snapshot, kept=kept, dropped=dropped)
    after = engine.size(conversation)
    return Compaction(conversation, before, after, reason, is_done=after.rows == len(kept))


def _reason(document: Document) -> str:
    if document.is_pending:
        return "an update waits for another that has not come"
    return "the log holds updates that can't be integrated" if document.refused else ""


def erase_key(conversation: ConversationId) -> str:
    """Return the name of the setting that says that something of a conversation is to be erased."""
    return f"erase {conversation}"


def named_blobs(updates: Iterable[bytes]) -> set[str]:
    """Return whatever in updates may name a blob, by SHA-256, also in what was deleted since."""
    return {sha256.decode() for some in _slices(updates) for sha256 in _SHA256.findall(some)}


def _referred(updates: Iterable[bytes]) -> set[str]:
    """Return the texts in updates that are SHA-256, which is ten times quicker than whatever may name one."""
    return {sha256.decode() for some in _slices(updates) for sha256 in _TEXT.findall(some)}


def _slices(updates: Iterable[bytes]) -> Iterator[bytes]:
    for update in updates:
        # They overlap, so that nothing is cut in each of them.
        yield from (update[first : first + SLICE + 64] for first in range(0, len(update), SLICE))


class Compactor:
    """One thread that compacts what is due, one conversation after another."""

    def __init__(self, compact: Callable[[ConversationId], object]) -> None:
        """
        Make it; the thread starts with the first conversation that is due.

        Args:
            compact: Does it; its errors are dropped, since the log is as good as the snapshot.
        """
        self._compact = compact
        self._due: dict[ConversationId, None] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_busy = False

    def add(self, conversation: ConversationId) -> None:
        """Have a conversation compacted soon."""
        with self._changed:
            if self._is_closed:
                return
            self._due[conversation] = None
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="crdt-conv compaction", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is due."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._due or self._is_busy))

    def close(self) -> None:
        """Finish what is due, and take no more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._due or self._is_closed)
                if not self._due:
                    return
                conversation = next(iter(self._due))
                del self._due[conversation]
                self._is_busy = True
            try:
                self._compact(conversation)
            except CrdtConvError:
                continue
            except Exception as error:  # noqa: BLE001 - whoever waits for this thread must not wait for ever
                # Its kind alone: a text may quote a conversation.
                _logger.error("compaction of %s failed: %s", conversation, type(error).__name__)
