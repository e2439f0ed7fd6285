"""
The write-ahead log, read without SQLite: which pages its whole commits hold.

https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from typing import BinaryIO


def committed(log: BinaryIO) -> tuple[int, dict[int, int], int]:
    """Return the size of a page, where in a write-ahead log each page stands last, and how many there are."""
    head = log.read(32)
    places: dict[int, int] = {}
    count, order = 0, {0x377F0682: "<", 0x377F0683: ">"}.get(int.from_bytes(head[:4]), "")
    sums = _sums(order or ">", head[:24].ljust(24), (0, 0))
    if not order or sums != struct.unpack(">2I", head[24:].ljust(8)):
        return 0, places, 0
    size, waiting = int.from_bytes(head[8:12]), places.copy()
    while len(frame := log.read(24 + size)) == 24 + size:
        sums = _sums(order, frame[:8] + frame[24:], sums)
        if frame[8:16] != head[16:24] or sums != struct.unpack(">2I", frame[16:24]):
            break
        number, length = struct.unpack(">2I", frame[:8])
        waiting[number] = log.tell() - size
        if length:
            places, count = places | waiting, length
            waiting = {}
    return (size if places else 0), places, count


def _sums(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two
