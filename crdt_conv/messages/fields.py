"""
Typed access to raw entries of a document, with one wording for what is wrong.

Entries are JSON as strangers wrote it; every accessor either returns a value of
the asked type or raises ``MalformedEntry`` with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from crdt_conv.errors import MalformedEntry

Json: TypeAlias = Any
"""A JSON value, as ``json.loads`` returns it."""

T = TypeVar("T")


MAX_DEPTH = 64


def is_shallow(value: Json, depth: int = MAX_DEPTH) -> bool:
    """Whether nothing in a value lies deeper than ``depth`` lists and Maps."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(is_shallow(item, depth - 1) for item in inner)


def is_exact(value: Json) -> bool:
    """Whether every replica reads a JSON value as it was written: no number beyond a double, not too deep."""
    if isinstance(value, bool | str | None):
        return True
    if isinstance(value, int):
        return abs(value) < 2**53
    if isinstance(value, float):
        return math.isfinite(value)
    if not is_shallow(value) or not isinstance(value, dict | list):
        return False
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return False
    return all(is_exact(item) for item in (value.values() if isinstance(value, dict) else value))


def ordered(value: Json) -> Json:
    """Return a JSON value with the keys of its objects in order, which every replica reads in another."""
    if isinstance(value, Mapping):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(item) for item in value] if isinstance(value, list | tuple) else value


def plain(value: Any) -> Any:
    """
    Return a value of a document as JSON and bytes.

    Yjs has one kind of number: a whole one is an ``int``, as JSON would write it.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return value if value == 0 and math.copysign(1, value) < 0 else int(value)
    return value


class Fields:
    """The keys of one raw Map."""

    def __init__(self, raw: dict[str, Json]) -> None:
        self._raw = raw

    @classmethod
    def of(cls, raw: object) -> Fields:
        """Take a raw entry, which must be a Map."""
        if not isinstance(raw, dict):
            raise MalformedEntry("it is no Map")
        return cls(raw)

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """Return a value of one kind, or the default where the key is missing."""
        value = self._raw.get(key, default)
        if not isinstance(value, kind):
            wrong = "is missing" if value is None else f"is no {kind.__name__}"
            raise MalformedEntry(f"{key!r} {wrong}")
        return value

    @property
    def raw(self) -> dict[str, Json]:
        """The Map itself."""
        return self._raw

    def has(self, key: str) -> bool:
        """Whether a key has a value other than null."""
        return self._raw.get(key) is not None

    def optional(self, key: str, kind: type[T]) -> T | None:
        """Return a value of one kind, or nothing."""
        return None if self._raw.get(key) is None else self.get(key, kind)

    def strings(self, key: str, default: list[str] | None = None) -> Sequence[str]:
        """Return a list of strings."""
        values = self.get(key, list, default)
        for value in values:
            if not isinstance(value, str):
                raise MalformedEntry(f"{key!r} holds something else than strings")
        return cast("list[str]", values)

    def milliseconds(self, key: str) -> int:
        """Return a time in milliseconds; 0 where it is missing."""
        value = self._raw.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
            raise MalformedEntry(f"{key!r} is no time in milliseconds")
        return int(value)

    def octets(self, key: str) -> bytes:
        """Return bytes, which JSON shows as numbers."""
        if key not in self._raw:
            return b""
        try:
            return bytes(self.get(key, list, []))
        except (TypeError, ValueError):
            raise MalformedEntry(f"{key!r} is no bytes") from None


def common(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
