"""
What an update claims to hold must fit into its bytes.

yrs makes room for as many clients, and as many keys of a plain object, as an update announces, before it
reads the first of them: eight bytes can cost half a gigabyte. The number of clients stands in front. A
plain object can stand anywhere, so an update in which bytes look like one with a great number is walked
through, and refused where one is. Few updates look like that. A walk takes most of a microsecond a byte; a
long update is not walked through: its sender pays for the harm by its length.

The same walk tells which structs an update holds, where pycrdt has no word for it.
"""

from __future__ import annotations

import re
from typing import Final

from crdt_conv.errors import MalformedUpdate

Ranges = dict[int, list[tuple[int, int]]]
"""Client id to ``(clock, length)``."""

HARMLESS: Final = 1 << 21
"""Room for so many is made in no time: in three bytes a number says no more."""
WALKED_BYTES: Final = 1 << 18

_CLIENT_BYTES = 3
_KEY_BYTES = 2
_OBJECT = 0x76
_LIST = 0x75
_SUSPECT = re.compile(rb"\x76[\x80-\xff]{3}")

# What comes behind the tag of a plain value, in bytes.
_FIXED = {0x7F: 0, 0x7E: 0, 0x7C: 4, 0x7B: 8, 0x7A: 8, 0x79: 0, 0x78: 0}

_GC, _SKIP = 0, 10
_HAS_LEFT, _HAS_RIGHT, _HAS_KEY, _KIND = 0x80, 0x40, 0x20, 0x1F
_XML_ELEMENT = 3
_TYPES = {0, 1, 2, 4, 6}


def check_claims(update: bytes) -> None:
    """
    Refuse an update that claims to hold more than it can.

    Raises:
        MalformedUpdate: It does.
    """
    if update[:1] >= b"\x80":
        _Walk(update).count(_CLIENT_BYTES)
    if len(update) <= WALKED_BYTES and _SUSPECT.search(update):
        try:
            _Walk(update).through()
        except RecursionError:
            raise MalformedUpdate("an update whose values are nested too deep") from None


def read_ranges(update: bytes) -> tuple[Ranges, Ranges]:
    """
    Return what an update inserts and what it deletes: client id to ``(clock, length)``.

    Takes most of a microsecond a byte.

    Raises:
        MalformedUpdate: It is none, or holds content of a kind that is not read here.
    """
    try:
        return _Walk(update).ranges()
    except RecursionError:
        raise MalformedUpdate("an update whose values are nested too deep") from None
    except UnicodeDecodeError:
        raise MalformedUpdate("an update with a text that is none") from None


class _Walk:
    """Walks through an update, and keeps nothing but where its structs are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def through(self) -> None:
        """Walk to the delete set, which costs nothing."""
        for _ in range(self._number()):
            structs = self._number()
            self._skip_numbers(2)
            for _ in range(structs):
                self._struct()

    def ranges(self) -> tuple[Ranges, Ranges]:
        """Return what is inserted, and what is deleted."""
        inserted: Ranges = {}
        for _ in range(self.count(_CLIENT_BYTES)):
            structs, client, clock = self._number(), self._number(), self._number()
            for _ in range(structs):
                is_skip = self._data[self._at : self._at + 1] == bytes([_SKIP])
                length = self._struct()
                if not is_skip:
                    inserted.setdefault(client, []).append((clock, length))
                clock += length
        deleted: Ranges = {}
        for _ in range(self._number()):
            client = self._number()
            ranges = [(self._number(), self._number()) for _ in range(self._number())]
            deleted.setdefault(client, []).extend(ranges)
        return inserted, deleted

    def count(self, each: int) -> int:
        """Read how many follow, of so many bytes each."""
        number = self._number()
        if number > HARMLESS and number * each > len(self._data) - self._at:
            raise MalformedUpdate("an update that claims to hold more than it can")
        return number

    def _struct(self) -> int:
        """Walk through a struct; returns how many clocks it takes."""
        info = self._byte()
        if info in {_GC, _SKIP}:
            return self._number()
        self._skip_numbers(2 * bool(info & _HAS_LEFT) + 2 * bool(info & _HAS_RIGHT))
        if not info & (_HAS_LEFT | _HAS_RIGHT):
            if self._number() == 1:
                self._words()
            else:
                self._skip_numbers(2)
            if info & _HAS_KEY:
                self._words()
        return self._content(info & _KIND)

    def _content(self, kind: int) -> int:
        match kind:
            case 1:
                return self._number()
            case 4:
                # Clocks count as JavaScript counts: characters beyond 16 bits are two.
                return len(self._words().decode().encode("utf-16-le")) // 2
            case 3 | 5:
                self._words()
            case 6 | 9:
                self._words()
                # The value of a format is JSON in a string, that of a subdocument is a plain value.
                (self._words if kind == 6 else self._value)()
            case 7:
                self._type()
            case 8:
                return self._values()
            case _:
                # Moves, links, and JSON of before 2020: yrs reads one string more of it than there are.
                raise MalformedUpdate("an update of a kind that can't be checked")
        return 1

    def _values(self) -> int:
        count = self._number()
        for _ in range(count):
            self._value()
        return count

    def _type(self) -> None:
        kind = self._number()
        if kind == _XML_ELEMENT:
            self._words()
        elif kind not in _TYPES:
            raise MalformedUpdate("an update of a kind that can't be checked")

    def _value(self) -> None:
        tag = self._byte()
        if tag in _FIXED:
            self._skip(_FIXED[tag])
        elif tag == 0x7D:
            self._number()
        elif tag in {0x77, 0x74}:
            self._words()
        elif tag == _LIST:
            self._values()
        elif tag == _OBJECT:
            for _ in range(self.count(_KEY_BYTES)):
                self._words()
                self._value()
        else:
            raise MalformedUpdate("an update with a value of no kind")

    def _words(self) -> bytes:
        length = self._number()
        self._skip(length)
        return self._data[self._at - length : self._at]

    def _skip_numbers(self, count: int) -> None:
        for _ in range(count):
            self._number()

    def _skip(self, length: int) -> None:
        self._at += length
        if self._at > len(self._data):
            raise MalformedUpdate("an update that is cut off")

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self._at - 1]

    def _number(self) -> int:
        number = shift = 0
        while (byte := self._byte()) >= 0x80:
            number |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise MalformedUpdate("an update with a number that is too long")
        return number | byte << shift
