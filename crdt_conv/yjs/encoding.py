"""
New entries of a root as Yjs updates (V1), encoded without a document.

A new key of a root has no neighbours, so its update depends on nothing but its
own client's clock: a long conversation need not be in memory for one more
message. Source: Yjs, ``UpdateEncoder.js``, ``Item.js`` and lib0's ``encoding.js``.

What a value becomes: ``MapOf``, ``ListOf`` and ``TextOf`` are shared types
(Y.Map, Y.Array, Y.Text); everything else is a plain value.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from crdt_conv.errors import InvalidMessage

_VALUES: Final = 0x08
_STRING: Final = b"\x04"
_TYPE: Final = 0x07
_KEYED: Final = 0x20
_BEHIND: Final = 0x80
_BYTES: Final = [bytes((value,)) for value in range(256)]
_KEYED_VALUE: Final = _BYTES[_VALUES | _KEYED]


class MapOf(dict[str, Any]):
    """Becomes a Y.Map."""


class ListOf(list[Any]):
    """Becomes a Y.Array."""


class TextOf(str):
    """Becomes a Y.Text."""

    __slots__ = ()


_KINDS: Final[dict[type, bytes]] = {ListOf: b"\x00", MapOf: b"\x01", TextOf: b"\x02"}


class Additions:
    """One Yjs client that only ever adds new keys to roots."""

    def __init__(self) -> None:
        self._client = _number(secrets.randbits(53))
        self._clock = 0
        self.count = 0

    def encode(self, root: str, entries: Mapping[str, MapOf]) -> bytes:
        """
        Return the update that adds entries to a root, under keys that nobody else writes.

        Every update depends on the ones before it: when one of them could not be
        stored, go on with a new object.

        Raises:
            InvalidMessage: No document can hold one of the values.
        """
        if not entries:
            # Yjs has no client without structs.
            return b"\x00\x00"
        items = _Items(self._client, self._clock)
        try:
            for key, entry in entries.items():
                items.add(entry, b"\x01" + _key(root) + _words(key), _KEYED)
        except (UnicodeEncodeError, OverflowError, RecursionError, struct.error) as error:
            raise InvalidMessage("a value that no document can hold") from error
        head = b"\x01" + _number(len(items.encoded)) + self._client + _number(self._clock)
        self._clock = items.clock
        self.count += len(entries)
        return head + b"".join(items.encoded) + b"\x00"


class _Items:
    """The items of one client, one behind the other."""

    def __init__(self, client: bytes, clock: int) -> None:
        self._client = client
        self.clock = clock
        self.encoded: list[bytes] = []

    def add(self, value: Any, place: bytes, flags: int) -> None:
        """
        Encode a value and all that is in it.

        Args:
            value: Shared or plain.
            place: Where it stands, encoded: its parent and key, or the one before it.
            flags: Which of these ``place`` is.
        """
        kind = _KINDS.get(type(value))
        if kind is None:
            self.encoded.append(_BYTES[_VALUES | flags] + place + b"\x01" + _any(value))
            self.clock += 1
            return
        self.encoded.append(_BYTES[_TYPE | flags] + place + kind)
        inside = b"\x00" + self._client + _number(self.clock)
        self.clock += 1
        if kind == b"\x01":
            self._add_entries(value, inside)
        elif kind == b"\x00":
            self._add_all(value, inside)
        elif value:
            self.encoded.append(_STRING + inside + _words(value))
            # Yjs counts text in UTF-16.
            self.clock += len(value) if value.isascii() else len(value.encode("utf-16-le")) // 2

    def _add_entries(self, entries: MapOf, inside: bytes) -> None:
        encoded = self.encoded
        for name, item in entries.items():
            if type(item) in _KINDS:
                self.add(item, inside + _key(name), _KEYED)
            else:
                # As ``add`` does it, without a call: most of a message is this.
                encoded.append(_KEYED_VALUE + inside + _key(name) + b"\x01" + _any(item))
                self.clock += 1

    def _add_all(self, values: ListOf, inside: bytes) -> None:
        place, flags = inside, 0
        for item in values:
            behind = self._client + _number(self.clock)
            self.add(item, place, flags)
            place, flags = behind, _BEHIND


def _number(value: int) -> bytes:
    if value < 0x80:
        return _BYTES[value]
    if value < 0x4000:
        return _BYTES[value & 0x7F | 0x80] + _BYTES[value >> 7]
    if value < 0x200000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    return bytes((value & 0x7F | 0x80,)) + _number(value >> 7)


def _words(text: str) -> bytes:
    encoded = text.encode()
    length = len(encoded)
    return (_BYTES[length] if length < 0x80 else _number(length)) + encoded


# The same few keys stand in every message.
_key = lru_cache(maxsize=256)(_words)


def _any(value: Any) -> bytes:
    """Return a plain value in lib0's ``Any`` encoding."""
    if isinstance(value, str):
        return b"\x77" + _words(value)
    if value is None:
        return b"\x7e"
    if isinstance(value, bool):
        return b"\x78" if value else b"\x79"
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return b"\x7b" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return b"\x74" + _number(len(value)) + value
    if isinstance(value, list | tuple):
        return b"\x75" + _number(len(value)) + b"".join(map(_any, value))
    if isinstance(value, dict):
        items = [_key(key) + _any(item) for key, item in value.items()]
        return b"\x76" + _number(len(value)) + b"".join(items)
    raise InvalidMessage(f"no document can hold a {type(value).__name__}")


def _whole(value: int) -> bytes:
    if abs(value) >= 2**31:
        # As JavaScript has it: a number beyond 31 bits is a double.
        return b"\x7b" + struct.pack(">d", value)
    size = abs(value)
    first = (0x40 if value < 0 else 0) | (size & 0x3F)
    size >>= 6
    return b"\x7d" + (bytes((first,)) if not size else bytes((first | 0x80,)) + _number(size))
