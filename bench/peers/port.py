"""What is asked of every store that is measured."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.conversations import Synthetic


class Peer(Protocol):
    """
    One conversation in one new file, written through a store's usual public API.

    It is made with the path of that file. Messages alternate between user and assistant, the user first.
    """

    name: str

    def append(self, message: Synthetic) -> None:
        """Write one more message; it is on disk on return, unless the class says otherwise."""

    def reopen_and_read_tail(self) -> str:
        """Load the whole conversation with new objects over the same file, and return its last text."""

    def fork(self, replies: Sequence[Synthetic]) -> None:
        """
        Write each of the replies as a child of what is the last message now.

        Raises:
            NotImplementedError: The store cannot say that; the text tells why.
        """

    def branch_tails(self) -> list[str]:
        """Load each branch of the fork, in its order, and return their last texts."""

    def close(self) -> None:
        """Close everything. Reopening still works."""

    def files(self) -> list[Path]:
        """Return the files that hold the conversation."""


def files_of(path: Path) -> list[Path]:
    """Return a database's file, its log and its shared memory, whichever exist."""
    return sorted(path.parent.glob(f"{path.name}*"))


def as_text(hidden: bytes) -> str:
    """Return a hidden field as JSON can hold it, which is how providers send it."""
    return base64.b64encode(hidden).decode("ascii")
