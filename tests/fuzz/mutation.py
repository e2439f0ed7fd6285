"""Bytes that were a frame once: small changes of valid examples, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

MAX_BYTES = 1 << 16

# Ends of ranges, the varints' continuation bit, and the tags of lib0's values.
TELLING = (0, 1, 2, 7, 9, 10, 0x20, 0x40, 0x75, 0x76, 0x77, 0x7F, 0x80, 0xC0, 0xE0, 0xFE, 0xFF)
NUMBERS = (
    b"\x80\x01",
    b"\xff\xff\x03",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x10",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80" * 9 + b"\x00",
)


def mutate(corpus: Sequence[bytes], chance: Random) -> bytes:
    """Return a changed copy of some example."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        chance.choice(CHANGES)(data, corpus, chance)
    return bytes(data[:MAX_BYTES])


def _at(data: bytearray, chance: Random) -> int:
    return chance.randrange(len(data) + 1)


def _part(data: Sequence[int], chance: Random) -> slice:
    start = chance.randrange(len(data) + 1)
    return slice(start, start + min(chance.randrange(1, 17), len(data) - start))


def _flip(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice(TELLING)


def _step(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    if data:
        at = chance.randrange(len(data))
        data[at] = (data[at] + chance.choice((-1, 1))) % 256


def _insert(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    at = _at(data, chance)
    data[at:at] = chance.randbytes(chance.randrange(1, 9))


def _insert_number(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    at = _at(data, chance)
    data[at : at + chance.randrange(2)] = chance.choice(NUMBERS)


def _delete(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    del data[_part(data, chance)]


def _repeat(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    part = _part(data, chance)
    data[part.start : part.start] = data[part] * chance.choice((1, 2, 50))


def _nest(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    """Repeat a few bytes so often that what they open is nested very deep."""
    at = _at(data, chance)
    part = chance.choice((b"\x75\x01", b"\x76\x01\x01k", bytes(data[at : at + chance.randrange(2, 9)])))
    data[at:at] = part * chance.choice((100, 600, 20_000))


def _cut(data: bytearray, _corpus: Sequence[bytes], chance: Random) -> None:
    del data[_at(data, chance) :]


def _splice(data: bytearray, corpus: Sequence[bytes], chance: Random) -> None:
    other = chance.choice(corpus)
    data[_at(data, chance) :] = other[chance.randrange(len(other) + 1) :]


def _borrow(data: bytearray, corpus: Sequence[bytes], chance: Random) -> None:
    other = chance.choice(corpus)
    at = _at(data, chance)
    data[at:at] = other[_part(other, chance)]


CHANGES: tuple[Callable[[bytearray, Sequence[bytes], Random], None], ...] = (
    _flip,
    _set,
    _step,
    _insert,
    _insert_number,
    _delete,
    _repeat,
    _nest,
    _cut,
    _splice,
    _borrow,
)
