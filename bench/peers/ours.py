"""This project, through the API that its README shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.conversations import Synthetic
from bench.peers.port import files_of
from crdt_conv import HiddenField, Store


class OurPeer:
    """
    One ``append`` a message: one commit and one fsync, with graph and digests; compaction goes on by itself.

    WAL and ``synchronous=FULL``. Closed, the log is compacted and the index with its full-text search stored.
    """

    name = "crdt-conv"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store(path)
        self.conversation = self.store.create("bench")
        self.branches: list[str] = []
        self.is_closed = False

    def append(self, message: Synthetic) -> None:
        """Write one message, its hidden bytes as they are."""
        self._append(message)

    def _append(self, message: Synthetic, branch: str = "main", parents: Sequence[str] | None = None) -> None:
        hidden = [] if message.hidden is None else [HiddenField("peer", "peer", "sealed", message.hidden)]
        self.conversation.append(message.role, message.text, hidden=hidden, branch=branch, parents=parents)

    def _opened(self) -> Store:
        # Beside a writer, a store is opened for reading.
        return Store(self.path, read_only=not self.is_closed)

    def reopen_and_read_tail(self) -> str:
        """Open the store and the conversation, and read its last message."""
        with self._opened() as store:
            return store.open(self.conversation.id).log(last=1).messages[-1].text

    def reopen_and_read_all(self) -> str:
        """Open the store and the conversation, and read every message."""
        with self._opened() as store:
            return store.open(self.conversation.id).log().messages[-1].text

    def fork(self, replies: Sequence[Synthetic]) -> None:
        """Write each reply on a branch of its own."""
        parents = [head.id for head in self.conversation.heads()]
        for number, reply in enumerate(replies):
            self.branches.append(f"fork-{number}")
            self._append(reply, self.branches[-1], parents)

    def branch_tails(self) -> list[str]:
        """Open once, and read the log of every branch."""
        with self._opened() as store:
            conversation = store.open(self.conversation.id)
            return [conversation.log(branch).messages[-1].text for branch in self.branches]

    def close(self) -> None:
        """Compact, and close the file."""
        self.store.compact()
        self.store.close()
        self.is_closed = True

    def files(self) -> list[Path]:
        """Return the store's files."""
        return files_of(self.path)
