"""
What of updates a replica has not taken in: it waits for something, or can't be integrated.

A state vector does not tell. What one client wrote behind something that has not come is
integrated, shown and encoded where it depends on nothing else, and the vector ends before it.
So the structs themselves are compared, with those of the document as it is encoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.structs import SKIP, Ranges, Structs, number_of, value_of
from crdt_conv.yjs.updates import covers, joined, lies_in

Held: TypeAlias = tuple[Ranges, Ranges]
"""What is inserted and what is deleted, in as few ranges as can be."""


SHORT: Final = 4 * 1024
"""What is held by updates up to this length is remembered."""


def held_in(update: bytes) -> Held | None:
    """Return what an update holds, not to be changed; nothing where it can't be read."""
    # What waits is asked about again with every update that comes while it does.
    return _held_in_short(update) if len(update) <= SHORT else _held_in(update)


def _held_in(update: bytes) -> Held | None:
    try:
        inserted, deleted = Structs(update).ranges()
    except MalformedUpdate:
        return None
    return _joined(inserted), _joined(deleted)


_held_in_short = lru_cache(maxsize=2_000)(_held_in)


def together(several: Iterable[Held]) -> Held:
    """Return what several hold together."""
    inserted: Ranges = {}
    deleted: Ranges = {}
    for one in several:
        for ranges, more in ((inserted, one[0]), (deleted, one[1])):
            for client, spans in more.items():
                ranges.setdefault(client, []).extend(spans)
    return _joined(inserted), _joined(deleted)


def rests(updates: Iterable[bytes], held: Held) -> dict[bytes, bytes]:
    """
    Return the updates of which something is not held, each with that.

    What can't be read is left as it is, and so is an update of which nothing is there.
    """
    found = ((update, _rest(update, *held)) for update in updates)
    return {update: rest for update, rest in found if rest is not None}


def _joined(ranges: Ranges) -> Ranges:
    return {client: joined(spans) for client, spans in ranges.items()}


def _rest(update: bytes, inserted: Ranges, deleted: Ranges) -> bytes | None:
    """Return what of an update is neither inserted nor deleted; nothing where all of it is."""
    asked = held_in(update)
    if asked is None:
        return update
    if covers(inserted, asked[0]):
        return None if covers(deleted, asked[1]) else _cut(update, inserted)
    return _cut(update, inserted)


def _cut(update: bytes, inserted: Ranges) -> bytes:
    """Return an update that skips the structs which are inserted already."""
    reader = Structs(update)
    pieces, at = list[bytes](), 0
    for struct in reader.all():
        spans = inserted.get(value_of(struct.client), [])
        if struct.kind != SKIP and lies_in(spans, struct.clock, struct.length):
            pieces += [update[at : struct.start], bytes([SKIP]), number_of(struct.length)]
            at = struct.end
    return b"".join((*pieces, update[at:]))
