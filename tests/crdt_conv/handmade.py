"""
Yjs updates (V1) encoded by hand: what no library would write, and strangers can send.

``update(client, clock, items)`` inserts items one behind the other; an ``item`` stands in a
root or in another item; its content is ``type_of(...)`` or ``values(...)``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from crdt_conv.yjs.structs import Struct, Structs

MAP, ARRAY, TEXT, XML_ELEMENT, XML_FRAGMENT, XML_TEXT = 1, 0, 2, 3, 4, 6

UNDEFINED, NULL = b"\x7f", b"\x7e"

Content = tuple[int, bytes]


def number(value: int) -> bytes:
    """Return a varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*encoded, value])


def words(text: str) -> bytes:
    """Return a string behind its length."""
    return number(len(text.encode())) + text.encode()


def string(text: str) -> bytes:
    """Return a string as a value."""
    return b"\x77" + words(text)


def double(value: float) -> bytes:
    """Return a 64-bit float as a value."""
    return b"\x7b" + struct.pack(">d", value)


def array(*items: bytes) -> bytes:
    """Return a plain list as a value."""
    return b"\x75" + number(len(items)) + b"".join(items)


def mapping(**items: bytes) -> bytes:
    """Return a plain object as a value."""
    return b"\x76" + number(len(items)) + b"".join(words(key) + item for key, item in items.items())


def nested(depth: int) -> bytes:
    """Return plain lists, each in another."""
    return b"\x75\x01" * depth + NULL


def values(*encoded: bytes) -> Content:
    """Return plain values as an item's content."""
    return 8, number(len(encoded)) + b"".join(encoded)


def type_of(kind: int, name: str | None = None) -> Content:
    """Return an empty shared type as an item's content; XML elements have a name."""
    return 7, number(kind) + (b"" if name is None else words(name))


def item(content: Content, parent: str | tuple[int, int], key: str | None = None) -> bytes:
    """Return an item in a root, by its name, or in the item at ``(client, clock)``."""
    kind, body = content
    encoded = bytes([kind | (0x20 if key is not None else 0)])
    if isinstance(parent, str):
        encoded += number(1) + words(parent)
    else:
        encoded += number(0) + number(parent[0]) + number(parent[1])
    return encoded + (words(key) if key is not None else b"") + body


def deletion(client: int, *ranges: tuple[int, int]) -> bytes:
    """Return a delete set of one client: ``(clock, length)`` each."""
    inside = b"".join(number(clock) + number(length) for clock, length in ranges)
    return number(1) + number(client) + number(len(ranges)) + inside


def update(client: int, clock: int, items: Sequence[bytes], deletes: bytes = b"\0") -> bytes:
    """Return an update with the items of one client."""
    return number(1) + number(len(items)) + number(client) + number(clock) + b"".join(items) + deletes


def only_deletes(deletes: bytes) -> bytes:
    """Return an update that inserts nothing."""
    return b"\0" + deletes


def entry(client: int, key: str, clock: int = 0, **fields: bytes | Content) -> bytes:
    """Return an update that writes one message: its Map is at ``clock``, its fields behind it."""
    given: dict[str, bytes | Content] = {"role": string("user"), "parents": array(), **fields}
    items = [item(type_of(MAP), "messages", key)]
    for name, value in given.items():
        content = value if isinstance(value, tuple) else values(value)
        items.append(item(content, (client, clock), name))
    return update(client, clock, items)


def nest(root: str, content: Content, depth: int, key: str | None = None, client: int = 7) -> list[bytes]:
    """Return items of one client: a type in a root, one in that, and so on, so many in all."""
    first = item(content, root, "nest")
    return [first, *(item(content, (client, clock), key) for clock in range(depth - 1))]


def in_pieces(items: Sequence[bytes], each: int, client: int = 7) -> list[bytes]:
    """Return updates with a few items each, which are of one element."""
    return [update(client, at, items[at : at + each]) for at in range(0, len(items), each)]


def one_by_one(update: bytes) -> list[Struct]:
    """Return every struct of an update, read one at a time."""
    reader, structs = Structs(update), []
    for client, first, count in reader._blocks():
        clock = first
        for _ in range(count):
            structs.append(reader._struct(client, clock))
            clock += structs[-1].length
    return structs
