"""
Schema 1 as shared types: how messages, parts and runs are written into a document.

Text that may still grow is a ``Text``; lists that only grow are an ``Array``;
everything else is a plain value. The reading side is ``message`` and ``run``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, Final

from pycrdt import Array, Map, Text

from crdt_conv.fields import Json
from crdt_conv.hidden import HiddenField, hidden_json
from crdt_conv.message import Message, Part

if TYPE_CHECKING:
    from crdt_conv.document import Document

SCHEMA: Final = 1
ROOTS: Final = ("meta", "messages", "choices", "branches", "runs", "drafts")
SMALL_ROOTS: Final = ("meta", "choices", "branches")
"""The roots that are always read whole."""

_GROWING: Final = {"text": "text", "reasoning": "text", "tool_call": "arguments"}
"""Part type to the key that holds a ``Text``."""


def message_map(message: Message, hidden: Iterable[HiddenField] = ()) -> Map[Any]:
    """
    Return a message with its hidden fields as a Map that is not in a document yet.

    Raises:
        InvalidMessage: A hidden field can't be kept exactly.
    """
    fields: dict[str, Any] = {
        "role": message.role,
        "parents": list(message.parents),
        "branch": message.branch,
        "created": message.created,
        "author": message.author.as_json(),
        "parts": Array([part_map(part) for part in message.parts]),
        "status": message.status,
        "nonce": message.nonce,
        "hidden": Array([hidden_map(field) for field in hidden]),
    }
    generated = {
        "run": message.run,
        "model": message.model,
        "usage": message.usage,
        "stop_reason": message.stop_reason,
        "source": list(message.source) or None,
    }
    return Map(fields | {key: value for key, value in generated.items() if value is not None})


def part_map(part: Part) -> Map[Any]:
    """Return a part as a Map that is not in a document yet."""
    fields: dict[str, Any] = part.as_json()
    growing = _GROWING.get(part.type)
    if growing is not None:
        fields[growing] = Text(fields.get(growing, ""))
    return Map(fields)


def hidden_map(field: HiddenField) -> Map[Any]:
    """
    Return a hidden field as a Map that is not in a document yet.

    Raises:
        InvalidMessage: It can't be kept exactly.
    """
    return Map(hidden_json(field))


def set_text(document: Document, root: str, key: str, text: str) -> None:
    """Make an entry a ``Text`` that reads so, changing no more of it than is different."""
    entry = document.value(root, key)
    if not isinstance(entry, Text):
        document.put(root, key, Text(text))
        return
    old = str(entry)
    start = len(commonprefix([old, text]))
    old_rest, rest = old[start:], text[start:]
    end = len(commonprefix([old_rest[::-1], rest[::-1]]))
    # pycrdt counts in bytes of UTF-8.
    at = len(old[:start].encode())
    gone = len(old_rest[: len(old_rest) - end].encode())
    if gone:
        del entry[at : at + gone]
    if len(rest) > end:
        entry.insert(at, rest[: len(rest) - end])


def growing_text(part: Map[Any]) -> Text | None:
    """Return the ``Text`` of a part that can stream, or nothing."""
    key = _GROWING.get(str(part.get("type")))
    text = part.get(key) if key is not None else None
    return text if isinstance(text, Text) else None


def run_map(fields: Mapping[str, Json]) -> Map[Any]:
    """Return a run as a Map that is not in a document yet; claims and outputs grow."""
    return Map({**fields, "claims": Array([]), "outputs": Array([])})


def plain_map(fields: Mapping[str, Json]) -> Map[Any]:
    """Return plain values as a Map that is not in a document yet."""
    return Map(dict(fields))
