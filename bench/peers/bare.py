"""Pycrdt and SQLite with nothing between them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pycrdt import Array, Doc, Map, Text, TransactionEvent

from bench.conversations import Synthetic
from bench.peers.port import files_of


class BarePeer:
    """
    The floor: every transaction's update is a row, with neither graph nor digests nor compaction.

    WAL and ``synchronous=FULL``: one commit and one fsync of the log a message. A fork is a parent's key in
    the message, which nothing checks.
    """

    name = "bare"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = full")
        self.db.execute("create table updates (seq integer primary key, data blob)")
        self.doc: Doc[Map[Any]] = Doc()
        self.messages = self.doc.get("messages", type=Map)
        self.doc.observe(self._store)
        # Counted here: a Map's length takes time in its entries, 0.1 ms at 10,000.
        self.count = 0
        self.fork_start = 0

    def _store(self, event: TransactionEvent) -> None:
        self.db.execute("insert into updates (data) values (?)", (event.update,))

    def append(self, message: Synthetic) -> None:
        """Write one message below the last."""
        self._write(message, self.count - 1)

    def _write(self, message: Synthetic, parent: int) -> None:
        value: dict[str, object] = {
            "role": message.role,
            "parents": [] if parent < 0 else [str(parent)],
            "parts": Array([Map({"type": "text", "text": Text(message.text)})]),
        }
        if message.hidden is not None:
            value["hidden"] = message.hidden
        self.messages[str(self.count)] = Map(value)
        self.count += 1

    def _load(self) -> Doc[Map[Any]]:
        doc: Doc[Map[Any]] = Doc()
        db = sqlite3.connect(self.path)
        with doc.transaction():
            for (update,) in db.execute("select data from updates order by seq"):
                doc.apply_update(update)
        db.close()
        return doc

    @staticmethod
    def _text(doc: Doc[Map[Any]], place: int) -> str:
        return str(doc.get("messages", type=Map)[str(place)]["parts"][0]["text"])

    def reopen_and_read_tail(self) -> str:
        """Apply every update to a new document, and read the last message."""
        return self._text(self._load(), self.count - 1)

    def fork(self, replies: Sequence[Synthetic]) -> None:
        """Write the replies with the same parent."""
        self.fork_start = self.count
        for reply in replies:
            self._write(reply, self.fork_start - 1)

    def branch_tails(self) -> list[str]:
        """Load once: the branches are in one document."""
        doc = self._load()
        return [self._text(doc, place) for place in range(self.fork_start, self.count)]

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def files(self) -> list[Path]:
        """Return the database's files."""
        return files_of(self.path)
