"""
The engine over one SQLite file: write-ahead log, ``synchronous=FULL``.

An append is one transaction and returns after the fsync, so whatever has a
sequence number is on disk.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from crdt_conv.engine import NOTHING, ConversationInfo, Listed, LogSize, Row
from crdt_conv.errors import ConversationDeleted, StoreCorrupt, StoreError, StoreFull
from crdt_conv.ids import ConversationId, now_ms
from crdt_conv.store.damage import is_named
from crdt_conv.store.sqlite.connection import Connection
from crdt_conv.store.sqlite.index import LAST_SEQ, MAX_SEQ, SqliteIndex, let_go
from crdt_conv.store.sqlite.renewal import make_again
from crdt_conv.store.sqlite.rows import LISTED, info_of

Execute = Callable[..., Any]

_DELETE: Final = (
    "delete from updates where conversation = ?",
    "delete from snapshots where conversation = ?",
    "delete from outbox where conversation = ?",
    "delete from conversations where id = ?",
)
MIN_SEQ: Final = -(2**63)
_APPEND: Final = "insert into updates (conversation, origin, data, crc) values (?, ?, ?, ?)"
_DESCRIBE: Final = (
    "update conversations set title = ?1, forked_from = ?2, archived = ?3 where id = ?4"
    # What is as it was is no page to write.
    " and (title is not ?1 or forked_from is not ?2 or archived is not ?3)"
)


class SqliteEngine:
    """One SQLite file. Safe to use from several threads; one process writes."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        """
        Open a file, made where it is missing, or ``:memory:``.

        Raises:
            StoreError: It can't be opened, read, written or understood.
        """
        self.connection = Connection(path, read_only=read_only)
        if not read_only:
            make_again(self.connection)
        self.index = SqliteIndex(self.connection)
        self._rows = self.connection.rows
        self._writing = self.connection.writing
        self._touched = ("", 0)

    @property
    def path(self) -> str | Path:
        """Where the file is."""
        return self.connection.path

    def close(self) -> None:
        """Close the file; nothing is waiting, since every append ends on disk."""
        self.connection.close()

    # The log

    def append(self, rows: Sequence[Row], *, at_ms: int) -> list[int]:
        """Append updates in one transaction; see ``Engine``."""
        try:
            return self._append(rows, at_ms)
        except StoreError as error:
            # It did not happen: the next one writes the row of the list.
            self._touched = ("", 0)
            if isinstance(error, StoreFull) and self._is_counted_out():
                raise StoreCorrupt(
                    f"{self.path}: another program has used the last sequence number, so nothing more can be"
                    " written; all that is there can be read, and exported into a new store"
                ) from error
            raise

    def _is_counted_out(self) -> bool:
        """Whether there is no sequence number left, which SQLite tells as it tells of a full disk."""
        found = self._rows(
            "select 1 from updates where seq = ?1 union all"
            " select 1 from sqlite_sequence where name = 'updates' and seq = ?1",
            MAX_SEQ,
        )
        return bool(found)

    def _append(self, rows: Sequence[Row], at_ms: int) -> list[int]:
        if len(rows) == 1 and rows[0].listed is None:
            # Held from one to the other: the conversation may be deleted meanwhile.
            with self.connection.lock:
                if self._is_touched(rows[0].conversation, at_ms):
                    return [self._insert(self.connection.write, rows[0])]
        with self._writing() as execute:
            seqs = [self._insert(execute, row) for row in rows]
            for conversation in dict.fromkeys(row.conversation for row in rows):
                self._touch(execute, conversation, at_ms)
            for row in rows:
                if row.listed is not None:
                    execute(_DESCRIBE, (*row.listed, row.conversation))
        return seqs

    def _is_touched(self, conversation: ConversationId, at_ms: int) -> bool:
        """Whether the list need not hear of an append: to the second, where its order does not change."""
        last, last_ms = self._touched
        return conversation == last and at_ms - last_ms < 1000

    def _touch(self, execute: Execute, conversation: ConversationId, at_ms: int) -> None:
        # Each is a page more to write.
        if not self._is_touched(conversation, at_ms):
            touched = execute(
                "insert into conversations (id, created, updated) select ?1, ?2, ?2"
                " where not exists (select 1 from deleted where conversation = ?1)"
                " on conflict (id) do update set updated = excluded.updated",
                (conversation, at_ms),
            )
            if touched.rowcount == 0:
                raise ConversationDeleted(conversation)
            self._touched = conversation, at_ms

    @staticmethod
    def _insert(execute: Execute, row: Row) -> int:
        values = (row.conversation, row.origin, row.update, zlib.crc32(row.update))
        return int(execute(_APPEND, values).lastrowid)

    def read(self, conversation: ConversationId, after: int = 0) -> list[tuple[int, bytes]]:
        """Return ``(seq, update)`` behind ``after``; see ``Engine``."""
        # Ours begin with 1; another program may have written others, and all of them is all.
        first = after + 1 if after > 0 else MIN_SEQ
        with self.connection.reading() as execute:
            found = execute(
                "select seq, crc, data from snapshots where conversation = ? and seq >= ?",
                (conversation, first),
            ).fetchall()
            rows = execute(
                "select seq, crc, data from updates where conversation = ? and seq >= ? order by seq",
                (conversation, first),
            ).fetchall()
        snapshots = [(seq, self._unpacked(seq, crc, data, conversation)) for seq, crc, data in found]
        return snapshots + [(seq, self._checked(seq, crc, data, conversation)) for seq, crc, data in rows]

    def _unpacked(self, seq: object, crc: object, data: object, conversation: str) -> bytes:
        packed = self._checked(seq, crc, data, conversation)
        try:
            return zlib.decompress(packed)
        except zlib.error as error:
            raise self._damaged(seq, conversation) from error

    def _checked(self, seq: object, crc: object, data: object, conversation: str) -> bytes:
        # Columns hold whatever another program puts there.
        if not isinstance(seq, int) or not isinstance(data, bytes) or zlib.crc32(data) != crc:
            raise self._damaged(seq, conversation)
        return data

    def _damaged(self, seq: object, conversation: str) -> StoreCorrupt:
        return StoreCorrupt(
            f"{self.path}: the update {seq!s:.20} of conversation {conversation} is damaged;"
            " Store.check() says what else is, and crdt_conv.recover() saves the rest in a new file"
        )

    def discard(self, seq: int) -> None:
        """Remove an update that was never acknowledged."""
        with self._writing() as execute:
            execute("delete from updates where seq = ?", (seq,))

    def last_seq(self, conversation: ConversationId) -> int:
        """Return the highest sequence number of a conversation, 0 without any."""
        return int(self._rows(LAST_SEQ, conversation, conversation)[0][0])

    def size(self, conversation: ConversationId) -> LogSize:
        """Return what the conversation's log takes."""
        with self.connection.reading() as execute:
            snapshot = execute(
                "select size from snapshots where conversation = ?", (conversation,)
            ).fetchone()
            count, size = execute(
                "select count(*), coalesce(sum(length(data)), 0) from updates where conversation = ?",
                (conversation,),
            ).fetchone()
        known = snapshot[0] if snapshot and isinstance(snapshot[0], int) else 0
        return LogSize(known, size, count)

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
        data = zlib.compress(snapshot)
        with self._writing() as execute:
            if not execute("select 1 from conversations where id = ?", (conversation,)).fetchone():
                return
            newer = "select 1 from snapshots where conversation = ? and seq > ?"
            if execute(newer, (conversation, seq)).fetchone():
                return
            # Before anything is counted: what is kept is not replaced.
            self._keep(execute, conversation, sorted(kept.items()))
            execute(
                "update outbox set replaced = replaced + (select count(*) from updates u"
                "  where u.conversation = outbox.conversation and u.seq > outbox.seq and u.seq <= ?"
                "  and u.origin is not outbox.peer) where conversation = ?",
                (seq, conversation),
            )
            execute(
                "insert into snapshots (conversation, seq, count, size, crc, data) select ?1, ?2,"
                "  (select count(*) from updates where conversation = ?1 and seq <= ?2), ?3, ?4, ?5"
                " where true"
                " on conflict (conversation) do update set seq = excluded.seq, size = excluded.size,"
                " count = count + excluded.count, crc = excluded.crc, data = excluded.data",
                (conversation, seq, len(snapshot), zlib.crc32(data), data),
            )
            execute("delete from updates where conversation = ? and seq <= ?", (conversation, seq))
            let_go(execute, dropped)
            self.index.repack(conversation)
        self.connection.shrink()

    @staticmethod
    def _keep(execute: Execute, conversation: ConversationId, kept: Sequence[tuple[int, bytes]]) -> None:
        """Give updates new numbers, behind all others."""
        if not kept:
            return
        last = execute(LAST_SEQ, (conversation, conversation)).fetchone()[0]
        for seq, update in kept:
            new = execute(
                "insert into updates (conversation, origin, data, crc)"
                " select conversation, origin, ?, ? from updates where seq = ? and conversation = ?",
                (update, zlib.crc32(update), seq, conversation),
            ).lastrowid
            execute("delete from updates where seq = ?", (seq,))
        execute("update outbox set seq = ? where conversation = ? and seq >= ?", (new, conversation, last))

    def scrub(self) -> bool:
        """Overwrite what was deleted, wherever SQLite may have left a copy; see ``Engine``."""
        with self._writing() as execute:
            execute("insert into found (found) values ('optimize')")
        if self.connection.is_memory:
            return True
        # Cells that moved between pages may have left a copy behind; a file written anew has none.
        self.connection.run("vacuum")
        return self.connection.empty_log()

    # Conversations

    def conversations(self) -> list[ConversationInfo]:
        """Return all conversations, the one that changed last first."""
        # An id that is no text names nothing; check() tells of it.
        ours = f"{LISTED} where typeof(id) = 'text' order by updated desc, id desc"
        return [info_of(row) for row in self._rows(ours)]

    def has(self, conversation: str) -> bool:
        """Whether anything of this conversation is in the log."""
        return bool(self._rows("select 1 from conversations where id = ?", conversation))

    def describe(self, conversation: ConversationId, listed: Listed) -> None:
        """Keep what the list shows."""
        with self.connection.deriving() as execute:
            execute(_DESCRIBE, (*listed, conversation))

    def delete(self, conversation: ConversationId, *, at_ms: int, blobs: Iterable[str] = ()) -> None:
        """Remove all that is kept of a conversation in one transaction; see ``Engine``."""
        with self._writing() as execute:
            execute("insert or ignore into deleted values (?, ?)", (conversation, at_ms))
            for statement in _DELETE:
                execute(statement, (conversation,))
            self.index.forget(conversation, blobs)
            # The next append looks for the tombstone.
            self._touched = ("", 0)
        self.connection.shrink()

    def is_deleted(self, conversation: str) -> bool:
        """Whether there is a tombstone for a conversation."""
        return bool(self._rows("select 1 from deleted where conversation = ?", conversation))

    def tombstones(self) -> list[ConversationId]:
        """Return all conversations that were deleted."""
        return [ConversationId(row[0]) for row in self._rows("select conversation from deleted")]

    # Blobs

    def put_blob(self, data: bytes) -> str:
        """Keep bytes under their SHA-256, which is returned as hexadecimal digits."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self._writing() as execute:
            # Put again, it is new again: whoever put it is about to refer to it.
            execute(
                "insert into blobs (sha256, added, data) values (?, ?, ?)"
                " on conflict (sha256) do update set added = excluded.added",
                (sha256, now_ms(), data),
            )
        return sha256

    def get_blob(self, sha256: str) -> bytes | None:
        """Return the bytes, or ``None`` where they are not here; see ``Engine``."""
        rows = self._rows("select data from blobs where sha256 = ?", sha256)
        if rows and not is_named(sha256, rows[0][0]):
            raise StoreCorrupt(f"{self.path}: the blob {sha256} is damaged")
        return rows[0][0] if rows else None

    def has_blob(self, sha256: str) -> bool:
        """Whether a blob is here."""
        return bool(self._rows("select 1 from blobs where sha256 = ?", sha256))

    def collect_blobs(self, used: Iterable[str], *, before_ms: int) -> int:
        """Remove every blob that is not in use and was put before some time; returns how many."""
        kept = set(used)
        with self._writing() as execute:
            old = execute("select sha256 from blobs where added < ?", (before_ms,)).fetchall()
            gone = [(sha256,) for (sha256,) in old if sha256 not in kept]
            for values in gone:
                execute("delete from blobs where sha256 = ?", values)
        return len(gone)

    # Leases

    def acquire_lease(self, name: str, owner: str, *, at_ms: int, until_ms: int) -> int | None:
        """Take or renew a lease in one atomic statement; see ``Engine``."""
        with self._writing() as execute:
            granted = execute(
                "insert into leases (name, owner, epoch, expires) values (:name, :owner, 1, :until)"
                " on conflict (name) do update set"
                " epoch = epoch + (owner <> :owner or expires <= :now), owner = :owner, expires = :until"
                " where owner = :owner or expires <= :now returning epoch",
                {"name": name, "owner": owner, "now": at_ms, "until": until_ms},
            ).fetchone()
        return None if granted is None else int(granted[0])

    def release_lease(self, name: str, owner: str) -> None:
        """End a lease now, if this owner holds it; the epoch stays."""
        with self._writing() as execute:
            execute("update leases set expires = 0 where name = ? and owner = ?", (name, owner))

    # What peers have

    def acknowledged(self, peer: str, conversation: ConversationId) -> int:
        """Return the ``seq`` up to which a peer has everything."""
        rows = self._rows("select seq from outbox where peer = ? and conversation = ?", peer, conversation)
        return int(rows[0][0]) if rows else 0

    def acknowledge(self, peer: str, conversation: ConversationId, seq: int) -> None:
        """Write down that a peer has everything up to ``seq``; never backwards."""
        with self._writing() as execute:
            execute(
                "insert into outbox (peer, conversation, seq) values (?1, ?2, ?3) on conflict do update set"
                " seq = max(seq, excluded.seq), replaced = iif(excluded.seq >= (select coalesce(max(seq), 0)"
                "  from snapshots where conversation = ?2), 0, replaced)",
                (peer, conversation, seq),
            )

    def peers(self) -> list[str]:
        """Return who acknowledged anything; see ``Engine``."""
        return [str(peer) for (peer,) in self._rows("select distinct peer from outbox order by peer")]

    def waiting(self, peer: str, conversation: ConversationId) -> int:
        """Count what a peer has not acknowledged; see ``Engine``."""
        rows = self._rows(
            "select (select count(*) from updates where conversation = ?1 and seq > known.seq"
            "  and origin is not ?2) + known.replaced from (select seq, replaced from outbox"
            "  where conversation = ?1 and peer = ?2 union all select 0, coalesce((select count"
            "  from snapshots where conversation = ?1), 0) limit 1) known",
            conversation,
            peer,
        )
        return int(rows[0][0])

    # Settings

    def setting(self, key: str) -> str:
        """Return a setting, or ``""``."""
        rows = self._rows("select value from settings where key = ?", key)
        return str(rows[0][0]) if rows else ""

    def set_setting(self, key: str, value: str) -> str:
        """Write a setting down; returns it."""
        with self._writing() as execute:
            execute("insert or replace into settings values (?, ?)", (key, value))
        return value
