"""
How many statuses a stock Hocuspocus client is owed. Pure.

Stock clients show whether all is saved by a number, and each status takes one from it. They don't say
which frame it is for, and they set the number anew, to one, whenever they send SyncStep1; what they
wrote before, offline too, they then send a second time, uncounted. A status for one of those would
make a client say "saved" of something that is still on its way. So:

========================================  =====================================================
an update, once it is stored              statuses
========================================  =====================================================
SyncStep2                                 what is owed: one for the SyncStep1 that came before,
                                          and those that were kept back
Update                                    one
Update between SyncStep1 and SyncStep2
  that the state vector covers            none: the number was set anew behind it
  that only deletes                       one, kept back: no state vector tells which it is
anything that is refused                  none, kept back: a later SyncStep2 may hold it
========================================  =====================================================
"""

from __future__ import annotations

from enum import Enum, auto

from crdt_conv.yjs.updates import has_structs, lacking, read_state_vector


class Kind(Enum):
    """What a frame with an update is to its sender's number."""

    COUNTED = auto()
    UNCOUNTED = auto()
    KEPT_BACK = auto()
    DIFF = auto()


class Tally:
    """What one client counts, as far as a server can know."""

    def __init__(self) -> None:
        self._owed = 0
        self._begun: bytes | None = None

    def begin(self, state_vector: bytes) -> None:
        """
        Hear SyncStep1: the client's number is one, and stands for all that it has.

        Raises:
            MalformedUpdate: ``state_vector`` is none.
        """
        read_state_vector(state_vector)
        self._owed = 1
        self._begun = state_vector

    def kind_of(self, update: bytes, *, is_diff: bool) -> Kind:
        """
        Tell what a frame is, in the order in which frames come.

        Raises:
            MalformedUpdate: ``update`` is none.
        """
        if is_diff:
            self._begun = None
            return Kind.DIFF
        if self._begun is None or has_structs(lacking(update, self._begun)):
            return Kind.COUNTED
        return Kind.UNCOUNTED if has_structs(update) else Kind.KEPT_BACK

    def stored(self, kind: Kind) -> int:
        """Return how many statuses to send, in the order in which frames are answered."""
        if kind is Kind.COUNTED:
            return 1
        if kind is Kind.DIFF:
            # A diff that nobody asked for is answered too.
            owed, self._owed = max(self._owed, 1), 0
            return owed
        self._owed += kind is Kind.KEPT_BACK
        return 0

    def refused(self, kind: Kind) -> None:
        """Keep back what a client counts and the server did not take."""
        self._owed += kind in {Kind.COUNTED, Kind.KEPT_BACK}
