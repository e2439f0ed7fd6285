"""What is in a store's files, read without our own code."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.simulation.atoms import Atoms, atoms
from tests.faults.simulation.disk import Image


@dataclass
class Remains:
    """The log of every conversation in a store's files, snapshots first."""

    updates: dict[str, list[bytes]] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()

    def atoms(self, conversation: str) -> Atoms:
        """Return what the log of a conversation holds."""
        held = Atoms()
        for update in self.updates.get(conversation, ()):
            held |= atoms(update)
        return held

    def mentions(self, conversation: str, message: str) -> bool:
        """Whether a message's id stands in the log of a conversation."""
        return any(message.encode() in update for update in self.updates.get(conversation, ()))


def remains_of(image: Image, name: str) -> Remains:
    """Read files as the next process would find them."""
    with TemporaryDirectory() as folder:
        for file, content in image.items():
            (Path(folder) / file).write_bytes(content)
        with closing(sqlite3.connect(Path(folder) / name)) as connection:
            tables = {table for (table,) in connection.execute("select name from sqlite_master")}
            return _read(connection) if "deleted" in tables else Remains()


def _read(connection: sqlite3.Connection) -> Remains:
    updates: dict[str, list[bytes]] = {}
    for conversation, data in connection.execute("select conversation, data from snapshots"):
        updates.setdefault(conversation, []).append(zlib.decompress(data))
    for conversation, data in connection.execute("select conversation, data from updates order by seq"):
        updates.setdefault(conversation, []).append(bytes(data))
    deleted = connection.execute("select conversation from deleted").fetchall()
    return Remains(updates, frozenset(conversation for (conversation,) in deleted))
