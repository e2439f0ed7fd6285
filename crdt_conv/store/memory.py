"""The engine that keeps everything in memory: for tests, and to show how little an engine needs."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from crdt_conv.engine import NOTHING, ConversationInfo, IndexStore, Listed, LogSize, Row
from crdt_conv.errors import ConversationDeleted, StoreError
from crdt_conv.ids import ConversationId, now_ms


class MemoryEngine:
    """Dictionaries behind a lock. It keeps no index: documents are read from the log."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_open = True
        self._seq = 0
        self._updates: dict[int, Row] = {}
        self._snapshots: dict[str, tuple[int, bytes]] = {}
        self._conversations: dict[str, ConversationInfo] = {}
        self._blobs: dict[str, tuple[int, bytes]] = {}
        self._leases: dict[str, tuple[str, int, int]] = {}
        # For each peer and conversation: what it acknowledged, and how much of the rest a snapshot replaced.
        self._outbox: dict[tuple[str, str], tuple[int, int]] = {}
        self._replaced: Counter[str] = Counter()
        self._settings: dict[str, str] = {}
        self._tombstones: dict[str, int] = {}

    @property
    def index(self) -> IndexStore | None:
        """No index."""
        return None

    def close(self) -> None:
        """Refuse everything from now on."""
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("the store is closed")

    # The log

    def append(self, rows: Sequence[Row], *, at_ms: int) -> list[int]:
        """Append updates; see ``Engine``."""
        self._check_open()
        with self._lock:
            for row in rows:
                if row.conversation in self._tombstones:
                    raise ConversationDeleted(row.conversation)
            for row in rows:
                self._seq += 1
                self._updates[self._seq] = row
                known = self._conversations.get(row.conversation)
                info = known or ConversationInfo(row.conversation, "", at_ms, at_ms)
                self._conversations[row.conversation] = info._replace(updated=at_ms)
                if row.listed is not None:
                    self.describe(row.conversation, row.listed)
            return list(range(self._seq - len(rows) + 1, self._seq + 1))

    def read(self, conversation: ConversationId, after: int = 0) -> list[tuple[int, bytes]]:
        """Return ``(seq, update)`` behind ``after``; see ``Engine``."""
        self._check_open()
        with self._lock:
            snapshot = self._snapshots.get(conversation)
            found = [snapshot] if snapshot and snapshot[0] > after else []
            return found + [(seq, row.update) for seq, row in self._log(conversation) if seq > after]

    def _log(self, conversation: str) -> list[tuple[int, Row]]:
        return [(seq, row) for seq, row in self._updates.items() if row.conversation == conversation]

    def discard(self, seq: int) -> None:
        """Remove an update that was never acknowledged."""
        self._updates.pop(seq, None)

    def last_seq(self, conversation: ConversationId) -> int:
        """Return the highest sequence number of a conversation, 0 without any."""
        return max((seq for seq, _ in self.read(conversation)), default=0)

    def size(self, conversation: ConversationId) -> LogSize:
        """Return what the conversation's log takes."""
        with self._lock:
            log = self._log(conversation)
            snapshot = self._snapshots.get(conversation, (0, b""))[1]
            return LogSize(len(snapshot), sum(len(row.update) for _, row in log), len(log))

    def replace(
        self,
        conversation: ConversationId,
        seq: int,
        snapshot: bytes,
        *,
        kept: Mapping[int, bytes] = NOTHING,
        dropped: Iterable[str] = (),
    ) -> None:
        """Put a snapshot in the place of everything up to ``seq``, which is gone then."""
        self._check_open()
        with self._lock:
            if conversation in self._tombstones or self._snapshots.get(conversation, (0,))[0] > seq:
                return
            last, going = self.last_seq(conversation), [s for s, _ in self._log(conversation) if s <= seq]
            rows = [self._updates.pop(each)._replace(update=kept[each]) for each in going if each in kept]
            for (peer, name), (known, replaced) in self._outbox.items():
                if name == conversation:
                    more = sum(
                        1 for s in going if s > known and s not in kept and self._updates[s].origin != peer
                    )
                    self._outbox[peer, name] = known + len(rows) * (known >= last), replaced + more
            self._replaced[conversation] += len(going) - len(rows)
            self._snapshots[conversation] = seq, snapshot
            self._let_go(dropped)
            for gone in set(going) - set(kept):
                del self._updates[gone]
            for row in rows:
                self._seq += 1
                self._updates[self._seq] = row

    def scrub(self) -> bool:
        """There is no file."""
        return True

    # Conversations

    def conversations(self) -> list[ConversationInfo]:
        """Return all conversations, the one that changed last first."""
        self._check_open()
        return sorted(self._conversations.values(), key=lambda info: (info.updated, info.id), reverse=True)

    def has(self, conversation: str) -> bool:
        """Whether anything of this conversation is in the log."""
        self._check_open()
        return conversation in self._conversations

    def describe(self, conversation: ConversationId, listed: Listed) -> None:
        """Keep what the list shows."""
        with self._lock:
            known = self._conversations.get(conversation)
            if known is not None:
                self._conversations[conversation] = known._replace(**listed._asdict())

    def delete(self, conversation: ConversationId, *, at_ms: int, blobs: Iterable[str] = ()) -> None:
        """Remove all that is kept of a conversation, and put a tombstone in its place."""
        self._check_open()
        with self._lock:
            self._tombstones.setdefault(conversation, at_ms)
            for seq, _ in self._log(conversation):
                del self._updates[seq]
            self._snapshots.pop(conversation, None)
            self._conversations.pop(conversation, None)
            self._replaced.pop(conversation, None)
            self._outbox = {key: value for key, value in self._outbox.items() if key[1] != conversation}
            self._let_go(blobs)

    def _let_go(self, blobs: Iterable[str]) -> None:
        for sha256 in set(blobs) & self._blobs.keys():
            self._blobs[sha256] = 0, self._blobs[sha256][1]

    def is_deleted(self, conversation: str) -> bool:
        """Whether there is a tombstone for a conversation."""
        self._check_open()
        return conversation in self._tombstones

    def tombstones(self) -> list[ConversationId]:
        """Return all conversations that were deleted."""
        return [ConversationId(name) for name in self._tombstones]

    # Blobs

    def put_blob(self, data: bytes) -> str:
        """Keep bytes under their SHA-256."""
        self._check_open()
        sha256 = hashlib.sha256(data).hexdigest()
        self._blobs[sha256] = now_ms(), bytes(data)
        return sha256

    def get_blob(self, sha256: str) -> bytes | None:
        """Return the bytes, or ``None`` where they are not here."""
        self._check_open()
        return self._blobs.get(sha256, (0, None))[1]

    def has_blob(self, sha256: str) -> bool:
        """Whether a blob is here."""
        return sha256 in self._blobs

    def collect_blobs(self, used: Iterable[str], *, before_ms: int) -> int:
        """Remove every blob that is not in use and was put before some time; returns how many."""
        kept = set(used)
        with self._lock:
            gone = [s for s, (added, _) in self._blobs.items() if added < before_ms and s not in kept]
            for sha256 in gone:
                del self._blobs[sha256]
        return len(gone)

    # Leases

    def acquire_lease(self, name: str, owner: str, *, at_ms: int, until_ms: int) -> int | None:
        """Take or renew a lease; see ``Engine``."""
        self._check_open()
        with self._lock:
            holder, epoch, expires = self._leases.get(name, ("", 0, 0))
            if holder != owner and expires > at_ms:
                return None
            epoch += holder != owner or expires <= at_ms
            self._leases[name] = owner, epoch, until_ms
            return epoch

    def release_lease(self, name: str, owner: str) -> None:
        """End a lease now, if this owner holds it; the epoch stays."""
        with self._lock:
            holder, epoch, _ = self._leases.get(name, ("", 0, 0))
            if holder == owner:
                self._leases[name] = holder, epoch, 0

    # What peers have

    def acknowledged(self, peer: str, conversation: ConversationId) -> int:
        """Return the ``seq`` up to which a peer has everything."""
        return self._outbox.get((peer, conversation), (0, 0))[0]

    def acknowledge(self, peer: str, conversation: ConversationId, seq: int) -> None:
        """Write down that a peer has everything up to ``seq``; never backwards."""
        self._check_open()
        with self._lock:
            known, replaced = self._outbox.get((peer, conversation), (0, 0))
            has_snapshot = seq >= self._snapshots.get(conversation, (0, b""))[0]
            self._outbox[peer, conversation] = max(seq, known), 0 if has_snapshot else replaced

    def peers(self) -> list[str]:
        """Return who acknowledged anything; see ``Engine``."""
        with self._lock:
            return sorted({peer for peer, _ in self._outbox})

    def waiting(self, peer: str, conversation: ConversationId) -> int:
        """Count what a peer has not acknowledged; see ``Engine``."""
        with self._lock:
            unknown = 0, self._replaced[conversation]
            known, replaced = self._outbox.get((peer, conversation), unknown)
            return replaced + sum(
                1 for seq, row in self._log(conversation) if seq > known and row.origin != peer
            )

    # Settings

    def setting(self, key: str) -> str:
        """Return a setting, or ``""``."""
        self._check_open()
        return self._settings.get(key, "")

    def set_setting(self, key: str, value: str) -> str:
        """Write a setting down; returns it."""
        self._check_open()
        self._settings[key] = value
        return value
