"""
A document as bytes: what a log holds, merged, with no Y.Doc in memory.

Enough to serve replicas: it knows its state vector, answers one, and knows what it
has already. What waits for something that has not come is part of it like
everything else, so nothing that was logged is ever left out of an answer.

What was added is only counted, and read when somebody asks: then against a stand-in for all that
is known, as long as a state vector and not as long as the document.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pycrdt

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.batches import is_update
from crdt_conv.yjs.coalesce import coalesce
from crdt_conv.yjs.structs import Ranges, Structs
from crdt_conv.yjs.updates import (
    EMPTY_UPDATE,
    covers,
    has_structs,
    lacking,
    merge_updates,
    read_deletes,
    read_state_vector,
    stand_in,
)

COALESCED_BYTES: Final = 16 * 1024
"""Of an answer up to this length texts are put together."""
CHECKED_BYTES: Final = 1 << 20
"""A log up to this length is read before it is answered with, since another program may have written it: of
10,000 messages that takes as long as all else, and eight times their length in memory."""


class EncodedDocument:
    r"""
    The merged updates of one document.

    Example:
        >>> document = EncodedDocument([])
        >>> document.encode()
        b'\x00\x00'
    """

    def __init__(self, updates: Iterable[bytes]) -> None:
        logged = tuple(updates)
        # A snapshot alone is whole already: to merge it with nothing takes as long as to build a Y.Doc.
        self._merged = logged[0] if len(logged) == 1 else _merged(logged)
        self._added: list[bytes] = []
        self._state_vector: bytes | None = None
        # Added since the state vector was right.
        self._unseen: list[bytes] = []
        # Behind a gap, and gone; nothing where that was not asked for.
        self._waiting: Ranges | None = None
        self._deletes: Ranges | None = None

    def add(self, update: bytes) -> None:
        """Take in an update that was checked."""
        self._added.append(update)
        if self._state_vector is not None:
            self._unseen.append(update)

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
            self._state_vector = self._read_first()
        elif self._unseen:
            self._state_vector = self._advanced(self._state_vector)
        return self._state_vector

    def _read_first(self) -> bytes:
        try:
            return pycrdt.get_state(self.merged)
        except (ValueError, RuntimeError):
            # The log's only update, and no update: another program wrote it.
            self._merged = EMPTY_UPDATE
            return pycrdt.get_state(self._merged)

    def _advanced(self, known: bytes) -> bytes:
        unseen, self._unseen = merge_updates(self._unseen), []
        if self._waiting != {}:
            # What was added may close a gap, and then more is known than was added.
            self._waiting = self._deletes = None
            return pycrdt.get_state(self.merged)
        now = pycrdt.get_state(merge_updates([stand_in(read_state_vector(known)), unseen]))
        rest = lacking(unseen, now)
        if has_structs(rest):
            self._waiting = self._deletes = None
        elif self._deletes is not None:
            for client, ranges in read_deletes(rest).items():
                self._deletes.setdefault(client, []).extend(ranges)
        return now

    def encode(self, state_vector: bytes = b"\x00") -> bytes:
        """
        Return what a state vector lacks, as one update.

        Raises:
            MalformedUpdate: ``state_vector`` is none.
        """
        if self._state_vector is None and len(self.merged) <= CHECKED_BYTES:
            self._state_vector = self._read_first()
        if not read_state_vector(state_vector):
            return self.merged
        rest = lacking(self.merged, state_vector)
        # What a client missed: it is worth a look that takes as long as the answer is long.
        return coalesce(rest) if len(rest) <= COALESCED_BYTES else rest

    def has(self, update: bytes) -> bool:
        """
        Whether all of an update is here.

        What stands behind a gap and is of a kind that can't be read without a document is taken for not
        here: sent again, it is logged again.

        Raises:
            MalformedUpdate: It is no update.
        """
        rest = lacking(update, self.state_vector)
        if rest == EMPTY_UPDATE:
            return True
        if self._waiting is None or self._deletes is None:
            self._waiting, self._deletes = _read(lacking(self.merged, self.state_vector)) or ({0: []}, {})
        asked = _read(rest)
        return asked is not None and covers(self._waiting, asked[0]) and covers(self._deletes, asked[1])


def _merged(logged: Iterable[bytes]) -> bytes:
    """Merge a log, less what is no update: others must not wait for what nobody can read."""
    log = list(logged)
    try:
        return merge_updates(log)
    except MalformedUpdate:
        return merge_updates(filter(is_update, log))


def _read(update: bytes) -> tuple[Ranges, Ranges] | None:
    """Return the structs and the deletes of an update, where they can be read."""
    try:
        return Structs(update).ranges() if has_structs(update) else ({}, read_deletes(update))
    except MalformedUpdate:
        return None
