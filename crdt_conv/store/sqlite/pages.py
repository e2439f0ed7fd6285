"""
Pages of a SQLite file, read without SQLite, which gives up at the first damaged one.

Pages have no checksums: one is *sound* when it parses.

https://www.sqlite.org/fileformat2.html: pages, records, free pages.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from crdt_conv.errors import StoreCorrupt
from crdt_conv.store.sqlite.wal import committed

_KINDS: Final = {2: (True, False), 5: (True, True), 10: (False, False), 13: (False, True)}
"""The first byte of a page to whether it has children, and whether it is a table's (else an index's)."""


@dataclass(slots=True)
class Page:
    """What a page holds: rows behind their rowids (0 in an index), and the pages below it."""

    is_sound: bool = False
    rows: list[tuple[int, list[Any]]] = field(default_factory=list)
    children: list[int] = field(default_factory=list)


class Pages:
    """The pages of a file as its last commit left them, those in the write-ahead log included."""

    def __init__(self, path: Path, file: BinaryIO, log: BinaryIO) -> None:
        """
        Read the header and the write-ahead log.

        Raises:
            StoreCorrupt: The header is damaged.
        """
        self._file, self._log = file, log
        size, self._in_log, count, self.log_damage = committed(log)
        log.seek(self._in_log.get(1, 0))
        head = log.read(100) if 1 in self._in_log else file.read(100)
        self.size = size or int.from_bytes(head[16:18]) or 1
        self.size = 65536 if self.size == 1 else self.size
        # The second: text is UTF-8, which it always is here.
        if (
            head[:16] != b"SQLite format 3\0"
            or head[56:60] != b"\0\0\0\1"
            or self.size not in {2**n for n in range(9, 17)}
        ):
            raise StoreCorrupt(
                f"{path}: the header is damaged or of no SQLite file: it says what the rest is"
            )
        self._usable = self.size - head[20]
        self.count = count or file.seek(0, os.SEEK_END) // self.size
        self.missing = max(int.from_bytes(head[28:32]) - self.count, 0)
        self._seen = self._free(int.from_bytes(head[32:36]))

    def _bytes(self, number: int) -> bytes | None:
        where = self._in_log.get(number)
        file = self._file if where is None else self._log
        try:
            file.seek((number - 1) * self.size if where is None else where)
            data = file.read(self.size)
        except OSError:
            # A bad sector is a damaged page like any other.
            return None
        return data if len(data) == self.size and number <= self.count else None

    def _free(self, trunk: int) -> set[int]:
        """Return the pages that are not in use: they may hold what was deleted."""
        free: set[int] = set()
        while trunk and trunk not in free and (data := self._bytes(trunk)) is not None:
            free.add(trunk)
            trunk, count, *leaves = struct.unpack(f">{self.size // 4}I", data)
            free.update(leaves[:count])
        return free

    def tree(self, root: int) -> Iterator[tuple[int, Page]]:
        """Yield the pages of a table or index, those that are not sound too; what is below those is not."""
        stack = [root]
        while stack:
            number = stack.pop()
            if number not in self._seen:
                self._seen.add(number)
                page = self._read(number)
                yield number, page
                stack.extend(page.children if page.is_sound else ())

    def rest(self) -> Iterator[Page]:
        """Yield what no tree led to, where it is sound."""
        for number in range(1, self.count + 1):
            if number not in self._seen and (page := self._read(number)).is_sound:
                yield page

    def _read(self, number: int) -> Page:
        data, page, start = self._bytes(number), Page(), 100 if number == 1 else 0
        if data is None or data[start] not in _KINDS:
            return page
        has_children, is_table = _KINDS[data[start]]
        first = start + (12 if has_children else 8)
        count = int.from_bytes(data[start + 3 : start + 5])
        try:
            for at in struct.unpack_from(f">{count}H", data, first):
                self._cell(page, data, at, has_children=has_children, is_table=is_table)
            page.is_sound = True
        except (ValueError, IndexError, struct.error):
            pass
        if has_children:
            page.children.append(int.from_bytes(data[start + 8 : start + 12]))
        return page

    def _cell(self, page: Page, data: bytes, at: int, *, has_children: bool, is_table: bool) -> None:
        if has_children:
            page.children.append(int.from_bytes(data[at : at + 4]))
            at += 4
            if is_table:
                return
        length, at = _varint(data, at)
        row_id, at = _varint(data, at) if is_table else (0, at)
        here = self._local(length, is_table=is_table)
        if at + here > self._usable or length > self.count * self.size:
            raise ValueError("a cell that leaves its page")
        try:
            page.rows.append((row_id, _record(self._payload(data, at, here, length))))
        except (ValueError, IndexError):
            # Of a row that goes on elsewhere the rest may be damaged, and this page is not.
            if here == length:
                raise

    def _local(self, length: int, *, is_table: bool) -> int:
        """Return how much of a row stands on its page; the file format's X, M and K."""
        least = (self._usable - 12) * 32 // 255 - 23
        most = self._usable - 35 if is_table else (self._usable - 12) * 64 // 255 - 23
        if length <= most:
            return length
        even = least + (length - least) % (self._usable - 4)
        return even if even <= most else least

    def _payload(self, data: bytes, at: int, here: int, length: int) -> bytes:
        payload = bytearray(data[at : at + here])
        follows = at + here
        while len(payload) < length:
            data = self._bytes(int.from_bytes(data[follows : follows + 4])) or b""
            if not data:
                raise ValueError("a page that is not there")
            payload += data[4 : min(self._usable, 4 + length - len(payload))]
            follows = 0
        return bytes(payload)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return SQLite's number at some place, and the place behind it."""
    value = 0
    for at_byte in range(at, at + 8):
        value = value << 7 | data[at_byte] & 0x7F
        if data[at_byte] < 0x80:
            return value, at_byte + 1
    return value << 8 | data[at + 8], at + 9


def _record(payload: bytes) -> list[Any]:
    end, at = _varint(payload, 0)
    place, row = end, []
    while at < end:
        kind, at = _varint(payload, at)
        length = (kind - 12) // 2 if kind >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]
        value = payload[place : place + length]
        place += length
        row.append(_value(kind, value))
    if place != len(payload):
        raise ValueError("a row that is longer or shorter than it says")
    return row


def _value(kind: int, data: bytes) -> Any:
    if kind >= 12:
        return data.decode() if kind % 2 else data
    # No table of a store has fractions (7).
    return None if kind in {0, 7} else kind - 8 if kind >= 8 else int.from_bytes(data, signed=True)
