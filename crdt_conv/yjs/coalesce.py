"""
Texts that were typed letter by letter, as the one piece that they are.

``merge_updates`` keeps a struct of some ten bytes for each update it was given. Two texts of one client are
one where the second was written right behind the first, with the same on its right: so Yjs itself splits a
text in two, and reads both alike. https://github.com/yjs/yjs, ``splitItem`` and ``Item.mergeWith``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.structs import STRING, Id, Struct, Structs, number_of
from crdt_conv.yjs.updates import merge_updates

MANY: Final = 64
"""Beyond so many updates their texts are put together: yrs joins pieces in time like their square."""

_LEFT, _KEY = 0x80, 0x20


def coalesce(update: bytes) -> bytes:
    """Return an update of the same effect with texts in fewer pieces; as it is, where it can't be walked."""
    structs, blocks = Structs(update), dict[bytes, _Block]()
    try:
        for struct in structs.all():
            block = blocks.setdefault(struct.client, _Block(struct.clock))
            block.add(struct, update[struct.start : struct.end])
    except MalformedUpdate:
        return update
    written = (block.encode(client) for client, block in blocks.items())
    return b"".join((number_of(len(blocks)), *written, structs.rest))


def merge_written(updates: Sequence[bytes]) -> bytes:
    """
    Merge updates as they were written one after another, perhaps letter by letter.

    Raises:
        MalformedUpdate: One of them is no update.
    """
    merged = merge_updates(updates)
    return coalesce(merged) if len(updates) > MANY else merged


@dataclass(slots=True)
class _Text:
    """Texts right behind each other; ``head`` is what stands before the first."""

    head: bytes
    right: tuple[Id, ...]
    words: list[bytes]

    def encode(self) -> bytes:
        words = b"".join(self.words)
        return b"".join((self.head, number_of(len(words)), words))


@dataclass(slots=True)
class _Block:
    """What one client wrote from a clock on."""

    clock: int
    length: int = 0
    parts: list[_Text | bytes] = field(default_factory=list)

    def add(self, struct: Struct, encoded: bytes) -> None:
        if struct.clock != self.clock + self.length:
            raise MalformedUpdate("an update that names a client twice")
        self.length += struct.length
        text = _text(struct, encoded)
        last = self.parts[-1] if self.parts else None
        if text is None:
            self.parts.append(encoded)
        elif isinstance(last, _Text) and last.right == text.right and _is_right_behind(struct):
            last.words += text.words
        else:
            self.parts.append(text)

    def encode(self, client: bytes) -> bytes:
        parts = (part.encode() if isinstance(part, _Text) else part for part in self.parts)
        return b"".join((number_of(len(self.parts)), client, number_of(self.clock), *parts))


def _is_right_behind(struct: Struct) -> bool:
    """Whether a struct stands right behind the one before it in its client's block."""
    return struct.beside[0] == struct.client + number_of(struct.clock - 1)


def _text(struct: Struct, encoded: bytes) -> _Text | None:
    """Return a text that was written behind something; of a key's values each replaces the last."""
    if struct.kind != STRING or encoded[0] & _KEY or not encoded[0] & _LEFT:
        return None
    at = 1 + sum(map(len, struct.beside))
    behind = next(place for place in range(at, len(encoded)) if encoded[place] < 0x80) + 1
    return _Text(encoded[:at], struct.beside[1:], [encoded[behind:]])
