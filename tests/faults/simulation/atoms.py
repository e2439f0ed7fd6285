"""
What an update holds, as sets: each inserted and each deleted unit by its client id and clock.

A decoder of Yjs' format 1 of its own, written from the description in Yjs' ``UpdateDecoder.js`` and
``Item.js``, so that the oracle trusts neither pycrdt nor the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

Unit = tuple[int, int]
"""Client id and clock."""

_GC, _DELETED, _SKIP = 0, 1, 10
_FIXED: Final = {0x7F: 0, 0x7E: 0, 0x7C: 4, 0x7B: 8, 0x7A: 8, 0x79: 0, 0x78: 0}


@dataclass(frozen=True, slots=True)
class Atoms:
    """Units that are inserted, and units that are deleted."""

    inserted: frozenset[Unit] = frozenset()
    deleted: frozenset[Unit] = frozenset()

    def __or__(self, other: Atoms) -> Atoms:
        return Atoms(self.inserted | other.inserted, self.deleted | other.deleted)

    def __sub__(self, other: Atoms) -> Atoms:
        return Atoms(self.inserted - other.inserted, self.deleted - other.deleted)

    def __le__(self, other: Atoms) -> bool:
        return self.inserted <= other.inserted and self.deleted <= other.deleted

    def __bool__(self) -> bool:
        return bool(self.inserted or self.deleted)


@lru_cache(maxsize=4096)
def atoms(update: bytes) -> Atoms:
    """
    Return what an update holds.

    Raises:
        ValueError: It is none.
    """
    return _Decoder(update).read()


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self) -> Atoms:
        inserted: set[Unit] = set()
        for _ in range(self._number()):
            structs, client, clock = self._number(), self._number(), self._number()
            for _ in range(structs):
                length, is_there = self._struct()
                if is_there:
                    inserted.update((client, at) for at in range(clock, clock + length))
                clock += length
        deleted: set[Unit] = set()
        for _ in range(self._number()):
            client = self._number()
            for _ in range(self._number()):
                clock, length = self._number(), self._number()
                deleted.update((client, at) for at in range(clock, clock + length))
        if self._at != len(self._data):
            raise ValueError("bytes behind the end")
        return Atoms(frozenset(inserted), frozenset(deleted))

    def _struct(self) -> tuple[int, bool]:
        info = self._byte()
        kind = info & 0x1F
        if info in {_GC, _SKIP}:
            return self._number(), info == _GC
        has_origin = info & 0xC0
        for _ in range(2 * (info >> 7) + 2 * (info >> 6 & 1)):
            self._number()
        if not has_origin:
            if self._number():
                self._text()
            else:
                self._number(), self._number()
            if info & 0x20:
                self._text()
        return self._content(kind), True

    def _content(self, kind: int) -> int:
        match kind:
            case 1:
                return self._number()
            case 3 | 5:
                self._text()
            case 4:
                # Yjs counts in UTF-16.
                return len(self._text().decode().encode("utf-16-le")) // 2
            case 6:
                self._text(), self._text()
            case 7:
                if self._number() == 3:
                    self._text()
            case 8:
                count = self._number()
                for _ in range(count):
                    self._value()
                return count
            case _:
                raise ValueError(f"no content of kind {kind}")
        return 1

    def _value(self) -> None:
        tag = self._byte()
        if tag in _FIXED:
            self._take(_FIXED[tag])
        elif tag == 0x7D:
            self._number()
        elif tag in {0x77, 0x74}:
            self._text()
        elif tag == 0x75:
            for _ in range(self._number()):
                self._value()
        elif tag == 0x76:
            for _ in range(self._number()):
                self._text()
                self._value()
        else:
            raise ValueError(f"no value of kind {tag}")

    def _text(self) -> bytes:
        return self._take(self._number())

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        self._at += length
        if len(taken) < length:
            raise ValueError("cut off")
        return taken

    def _byte(self) -> int:
        return self._take(1)[0]

    def _number(self) -> int:
        number = shift = 0
        while (byte := self._byte()) >= 0x80:
            number |= (byte & 0x7F) << shift
            shift += 7
        return number | byte << shift
