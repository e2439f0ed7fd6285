"""
Pure functions over update bytes (Yjs V1), for what pycrdt does not tell.

An update is a list of structs (inserted content, by client id and clock) and a
delete set (ranges of clocks that are gone). A replica integrates a struct only
when it has everything the struct was made on; until then the struct is
*pending*. pycrdt's ``Doc.get_update()`` leaves pending structs and deletes out,
so whoever replaces or serves a log must know whether something is pending.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

import pycrdt

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.claims import check_claims
from crdt_conv.yjs.structs import Ranges

EMPTY_UPDATE: Final = b"\x00\x00"
MERGED_AT_ONCE: Final = 64
"""The time of one ``pycrdt.merge_updates`` grows with the square of how many updates it is given."""

Clocks = dict[int, int]


def merge_updates(updates: Iterable[bytes]) -> bytes:
    """
    Merge updates into one that has the same effect, pending parts included.

    Raises:
        MalformedUpdate: One of them is no update.
    """
    several = list(updates)
    if not several:
        return EMPTY_UPDATE
    try:
        while len(several) > MERGED_AT_ONCE:
            several = [
                pycrdt.merge_updates(*several[first : first + MERGED_AT_ONCE])
                for first in range(0, len(several), MERGED_AT_ONCE)
            ]
        return pycrdt.merge_updates(*several)
    except (ValueError, RuntimeError) as error:
        raise MalformedUpdate("not a Yjs update") from error


def check_update(update: bytes) -> None:
    """
    Refuse bytes that are no update, before they reach a log.

    Raises:
        MalformedUpdate: They can't be decoded.
    """
    check_claims(update)
    try:
        pycrdt.get_state(update)
    except (ValueError, RuntimeError) as error:
        raise MalformedUpdate("not a Yjs update") from error


def lacking(update: bytes, state_vector: bytes) -> bytes:
    """Return the part of ``update`` whose structs ``state_vector`` has not; deletes stay whole."""
    try:
        return pycrdt.get_update(update, state_vector)
    except (ValueError, RuntimeError) as error:
        raise MalformedUpdate("not a Yjs update or state vector") from error


def has_structs(update: bytes) -> bool:
    """Whether an update inserts anything: its first varint counts the clients that do."""
    return update[:1] != b"\x00"


def read_state_vector(data: bytes) -> Clocks:
    """
    Decode a state vector: client id to the next clock.

    Raises:
        MalformedUpdate: The bytes are no state vector.
    """
    numbers = _Numbers(data)
    clocks = {numbers.next(): numbers.next() for _ in range(numbers.next())}
    numbers.end()
    return clocks


def stand_in(clocks: Clocks) -> bytes:
    """Return an update that is nothing but known: of each client, so many clocks that are gone."""
    gone = (_number(1) + _number(client) + b"\x00\x00" + _number(clock) for client, clock in clocks.items())
    return _number(len(clocks)) + b"".join(gone) + b"\x00"


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_deletes(update: bytes) -> Ranges:
    """
    Decode the delete set of an update without structs: client id to ``(clock, length)``.

    Raises:
        MalformedUpdate: The bytes are no such update.
    """
    if has_structs(update):
        raise MalformedUpdate("an update with structs")
    numbers = _Numbers(update[1:])
    ranges: Ranges = {}
    for _ in range(numbers.next()):
        client = numbers.next()
        ranges.setdefault(client, []).extend((numbers.next(), numbers.next()) for _ in range(numbers.next()))
    numbers.end()
    return ranges


def covers(known: Ranges, asked: Ranges) -> bool:
    """Whether every range of ``asked`` lies inside the ranges of ``known``."""
    spans = {client: joined(known.get(client, ())) for client in asked}
    return all(lies_in(spans[client], *one) for client, ranges in asked.items() for one in ranges)


def lies_in(spans: Sequence[tuple[int, int]], clock: int, length: int) -> bool:
    """Whether a range lies inside one of some that are joined."""
    at = bisect_right(spans, clock, key=itemgetter(0)) - 1
    return not length or (at >= 0 and clock + length <= sum(spans[at]))


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in order, in as few as can be."""
    whole = list[tuple[int, int]]()
    for clock, length in sorted(ranges):
        if whole and clock <= sum(whole[-1]):
            start = whole[-1][0]
            whole[-1] = start, max(sum(whole[-1]), clock + length) - start
        else:
            whole.append((clock, length))
    return whole


class _Numbers:
    """A reader of lib0 varints, enough for state vectors and delete sets."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def next(self) -> int:
        value = shift = 0
        while shift <= 63:
            if self._at >= len(self._data):
                break
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise MalformedUpdate("a truncated number")

    def end(self) -> None:
        if self._at != len(self._data):
            raise MalformedUpdate("trailing bytes")
