"""
How deep shared types stand in each other, and updates without those that stand too deep.

yrs recurses over types in types where it deletes them or writes JSON, until the process dies. Unlike a
plain value, such a nest can be built with many updates, each of which is harmless, so no single update
can be refused for it: whoever merges honest updates with such would be refused with them. Instead every
replica leaves out, from its memory only, what stands deeper than ``DEEPEST_TYPE``. How deep an item
stands follows from the items that it stands in, which never change, so all replicas leave out the same,
whatever came first; to yrs it looks like something that was deleted and collected.

In the same way an item is left out that stands in something which is no type: Yjs takes it for collected,
yrs gives up on the whole update, and on honest ones that are merged with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final, NamedTuple

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.structs import DELETED, GC, SKIP, TYPE, Id, Struct, Structs, number_of, split_id, value_of

DEEPEST_TYPE: Final = 200
"""A conversation is 4 deep; the process is safe up to some 10,000."""

_NO_HARM_INSIDE = {TYPE, DELETED, GC, SKIP}
_NO_LENGTH = 1 << 64
_TYPE_BYTES = 4
_HEADS = [bytes([flags | TYPE]) for flags in range(0, 0x100, 0x20)]
_COUNTED_BYTES = 1 << 14


def most_types(update: bytes) -> int:
    """Return a number that is at least that of the types which an update holds; quickly."""
    if len(update) <= _COUNTED_BYTES:
        return min(len(update) // _TYPE_BYTES, sum(map(update.count, _HEADS)))
    return len(update) // _TYPE_BYTES


def deepest(updates: Iterable[bytes]) -> int:
    """
    Return at least how deep types stand in each other, counting only what is in the updates.

    Raises:
        MalformedUpdate: One of them can't be read.
    """
    log = list(updates)
    at_most = _in_order(map(Structs, log))
    if at_most is None or at_most > DEEPEST_TYPE:
        # What is not found among these stands in a root, or is no type, or is not here.
        levels = _Levels(chain.from_iterable(Structs(update).nested_types() for update in log), unknown=1)
        at_most = levels.deepest * (levels.unsure + 1)
    if at_most <= DEEPEST_TYPE:
        return at_most
    return _Levels(chain.from_iterable(Structs(update).all() for update in log)).deepest


def _in_order(readers: Iterable[Structs]) -> int | None:
    """Return what ``deepest`` does, quickly, for types that come behind what they stand in; else nothing."""
    levels: dict[Id, int] = {}
    elsewhere: set[Id] = set()
    unsure = 0
    for known, inside, beside in chain.from_iterable(one.nested_places() for one in readers):
        if inside is not None:
            levels[known] = levels.get(inside, 1) + 1
            if inside not in levels:
                elsewhere.add(inside)
            continue
        level = 1
        for one in beside:
            if one in levels:
                level = max(level, levels[one])
            else:
                elsewhere.add(one)
                unsure += 1
        levels[known] = level
    # Nothing that stands beside what is no type can be deeper than all of these in each other.
    return max(levels.values(), default=1) * (unsure + 1) if elsewhere.isdisjoint(levels) else None


def without_harm(update: bytes) -> bytes:
    """
    Return an update without what stands too deep, or in no type.

    Args:
        update: All that a document holds, so that everything can be traced to its root.

    Raises:
        MalformedUpdate: It can't be read.
    """
    structs = list(Structs(update).all())
    levels = _Levels(structs)
    pieces, at = [], 0
    for struct in filter(levels.is_harmful, structs):
        pieces += [update[at : struct.start], bytes([GC]), number_of(struct.length)]
        at = struct.end
    return b"".join((*pieces, update[at:]))


class _Levels:
    """
    On which level items stand: 1 in a root, one more in each type.

    What is not there is on a level that is given.
    """

    def __init__(self, structs: Iterable[Struct], *, unknown: int = 0) -> None:
        """Place all structs, which may come in any order."""
        self._unknown = unknown
        self.deepest = unknown
        by_id = {struct.id: struct for struct in structs}
        self._kinds = {known: struct.kind for known, struct in by_id.items()}
        self._spans = _Spans(by_id.values())
        self._levels: dict[Id, int] = {}
        self._waiting: dict[Id, list[Id]] = {}
        self.unsure = 0
        """How many stand beside something that is not there."""
        for known, struct in by_id.items():
            self._place(known, struct)
            placed = [known]
            while placed:
                waiting = self._waiting.pop(placed.pop(), ())
                placed.extend(later for later in waiting if self._place(later, by_id[later]))

    def _place(self, known: Id, struct: Struct) -> bool:
        """Note the level of a struct, unless it waits for that of another; in a circle, for ever."""
        inside = struct.inside
        near = [self._found(one) for one in ((inside,) if inside is not None else struct.beside)]
        for one in near:
            if one is not None and one not in self._levels:
                self._waiting.setdefault(one, []).append(known)
                return False
        level = max(
            (self._unknown if one is None else self._levels[one] for one in near), default=self._unknown
        )
        self._levels[known] = level = level + 1 if inside is not None else max(level, 1)
        self.unsure += inside is None and None in near
        if struct.kind == TYPE:
            self.deepest = max(self.deepest, level)
        return True

    def _found(self, one: Id) -> Id | None:
        return one if one in self._kinds else self._spans.around(one)

    def is_harmful(self, struct: Struct) -> bool:
        """Whether a struct is a type that stands too deep, or stands in something which is no type."""
        if struct.inside is not None:
            parent = self._found(struct.inside)
            if parent is not None and self._kinds[parent] not in _NO_HARM_INSIDE:
                return struct.length > 0
        return struct.kind == TYPE and self._levels.get(struct.id, 0) > DEEPEST_TYPE


class _Spans:
    """Finds the struct that an element is of, where it is not the first."""

    def __init__(self, structs: Iterable[Struct]) -> None:
        self._spans: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
        for struct in structs:
            if struct.length > 1:
                self._spans[struct.client].append((struct.clock, struct.length))
        for spans in self._spans.values():
            spans.sort()

    def around(self, one: Id) -> Id | None:
        """Return the id of the struct that an element is of."""
        if not self._spans:
            return None
        client, clock = split_id(one)
        spans = self._spans.get(client, [])
        at = bisect_right(spans, (clock, _NO_LENGTH)) - 1
        if at >= 0 and clock < sum(spans[at]):
            return client + number_of(spans[at][0])
        return None


class Shape(NamedTuple):
    """
    How a log can be applied.

    ``is_shallow``: no types stand too deep in each other, as far as the log says so by itself.
    ``is_in_sequence``: nobody's updates have a gap that is closed later. Of one that has, yrs encodes what
    it made with the gap, or dies over it.
    ``ends``: behind which clock of each client lies all that is inserted and deleted; nothing where that
    can't be read.
    """

    is_shallow: bool
    is_in_sequence: bool
    ends: Mapping[int, int] | None = None


def shape_of(log: list[bytes]) -> Shape:
    """Look at a log before it is applied, update by update."""
    readers = list(map(Structs, log))
    try:
        at_most = _in_order(readers)
        is_shallow = (deepest(log) if at_most is None or at_most > DEEPEST_TYPE else at_most) <= DEEPEST_TYPE
    except MalformedUpdate:
        return Shape(is_shallow=False, is_in_sequence=False)
    spans = list(chain.from_iterable(one.spans for one in readers))
    return Shape(is_shallow, _is_in_sequence(spans), _ends_of(spans, readers))


def _ends_of(spans: Iterable[tuple[bytes, int, int]], readers: Iterable[Structs]) -> dict[int, int] | None:
    """Return behind which clock of each client all lies; the readers stand before the deletes."""
    ends: dict[int, int] = {}
    try:
        deleted = [
            (client, max(map(sum, gone), default=0))
            for one in readers
            for client, gone in one.deletes().items()
        ]
    except MalformedUpdate:
        return None
    for client, end in chain(((value_of(client), end) for client, _, end in spans), deleted):
        ends[client] = max(ends.get(client, 0), end)
    return ends


def whole_clocks(update: bytes) -> dict[int, int]:
    """
    Return behind which clock of each client an update has a gap or ends: its state vector.

    Without taking five times its length in memory, as pycrdt does.

    Raises:
        MalformedUpdate: It can't be read.
    """
    reader = Structs(update)
    for _ in reader.nested_places():
        pass
    clocks: dict[int, int] = {}
    for client, first, end in reader.spans:
        known = value_of(client)
        if first <= clocks.get(known, 0):
            clocks[known] = max(clocks.get(known, 0), end)
    return clocks


def _is_in_sequence(spans: Iterable[tuple[bytes, int, int]]) -> bool:
    """Whether what each client wrote comes without a gap."""
    known: dict[bytes, int] = {}
    for client, first, end in spans:
        clock = known.get(client, 0)
        if first > clock:
            return False
        known[client] = max(clock, end)
    return True
