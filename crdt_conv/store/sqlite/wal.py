"""
The write-ahead log, read without SQLite: which pages its whole commits hold.

https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple


class Committed(NamedTuple):
    """
    What the whole commits of a write-ahead log hold.

    ``size`` is that of a page in bytes, ``places`` where in the log each page stands
    last, ``pages`` how many pages the file has; ``damage`` says what of it can't be
    read, and is empty where that is nothing, or was never acknowledged.
    """

    size: int
    places: dict[int, int]
    pages: int
    damage: str = ""


def committed(log: BinaryIO) -> Committed:
    """Read a write-ahead log as SQLite would: up to the first frame that is not whole."""
    head = log.read(32)
    places: dict[int, int] = {}
    count, order = 0, {0x377F0682: "<", 0x377F0683: ">"}.get(int.from_bytes(head[:4]), "")
    sums = _sums(order or ">", head[:24].ljust(24), (0, 0))
    if not order or sums != struct.unpack(">2I", head[24:].ljust(8)):
        is_damaged = bool(head.strip(b"\0")) and bool(log.read(1))
        return Committed(0, places, 0, "the write-ahead log is damaged at its beginning" * is_damaged)
    size, waiting = int.from_bytes(head[8:12]), places.copy()
    salts, frame = head[16:24], b""
    while len(frame := log.read(24 + size)) == 24 + size:
        sums = _sums(order, frame[:8] + frame[24:], sums)
        if frame[8:16] != salts or sums != struct.unpack(">2I", frame[16:24]):
            break
        number, length = struct.unpack(">2I", frame[:8])
        waiting[number] = log.tell() - size
        if length:
            places, count = places | waiting, length
            waiting = {}
    damage = _unread(log, frame, size, salts)
    return Committed(size if places else 0, places, count, damage)


def _unread(log: BinaryIO, frame: bytes, size: int, salts: bytes) -> str:
    """Say what stands from a frame on that is not whole, less what is left of an earlier round of the log."""
    at, commits = (log.tell() - 32) // (24 + size), 0
    while len(frame) == 24 + size:
        commits += frame[8:16] == salts and frame[4:8] != bytes(4)
        frame = log.read(24 + size)
    if not commits:
        return ""
    # The last may have been under way when the power went: then nobody was told that it had ended.
    rest = "a commit behind it is" if commits == 1 else f"{commits} commits behind it are"
    return f"the write-ahead log is damaged at its frame {at}, and {rest} lost"


def _sums(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two
