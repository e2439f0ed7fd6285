"""
A document as bytes: what a log holds, merged, with no Y.Doc in memory.

Enough to serve replicas: it knows its state vector, answers one, and knows what it
has already. What waits for something that has not come is part of it like
everything else, so nothing that was logged is ever left out of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable

import pycrdt

from crdt_conv.errors import MalformedUpdate
from crdt_conv.updates import (
    Ranges,
    covers,
    has_structs,
    lacking,
    merge_updates,
    read_deletes,
    read_state_vector,
)


class EncodedDocument:
    r"""
    The merged updates of one document.

    Example:
        >>> document = EncodedDocument([])
        >>> document.encode()
        b'\x00\x00'
    """

    def __init__(self, updates: Iterable[bytes]) -> None:
        self._merged = merge_updates(updates)
        self._added: list[bytes] = []
        self._state_vector: bytes | None = None
        self._deletes: Ranges | None = None

    def add(self, update: bytes) -> None:
        """Take in an update that was checked."""
        self._added.append(update)
        self._state_vector = self._deletes = None

    @property
    def merged(self) -> bytes:
        """All of it as one update."""
        if self._added:
            added, self._added = self._added, []
            self._merged = merge_updates([self._merged, *added])
        return self._merged

    @property
    def state_vector(self) -> bytes:
        """Which operations are here, up to the first gap of each client."""
        if self._state_vector is None:
            self._state_vector = pycrdt.get_state(self.merged)
        return self._state_vector

    def encode(self, state_vector: bytes = b"\x00") -> bytes:
        """
        Return what a state vector lacks, as one update.

        Raises:
            MalformedUpdate: ``state_vector`` is none.
        """
        if not read_state_vector(state_vector):
            return self.merged
        return lacking(self.merged, state_vector)

    def has(self, update: bytes) -> bool:
        """
        Whether all of an update is here.

        What stands behind a gap is taken for not here: sent again, it is logged again.

        Raises:
            MalformedUpdate: It is no update.
        """
        rest = lacking(update, self.state_vector)
        if has_structs(rest):
            return False
        deletes = read_deletes(rest)
        if not deletes:
            return True
        if self._deletes is None:
            self._deletes = self._all_deletes()
        return covers(self._deletes, deletes)

    def _all_deletes(self) -> Ranges:
        # Against its own state vector, what is left is the delete set, and what stands behind a gap.
        rest = lacking(self.merged, self.state_vector)
        try:
            return read_deletes(rest)
        except MalformedUpdate:
            return {}
