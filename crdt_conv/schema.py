"""
Schema 1 as shared types: how messages, parts and runs are written into a document.

Text that may still grow is a ``Text``; lists that only grow are an ``Array``;
everything else is a plain value. The reading side is ``message`` and ``run``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pycrdt import Array, Map, Text

from crdt_conv.fields import Json
from crdt_conv.message import Message, Part

SCHEMA: Final = 1
ROOTS: Final = ("meta", "messages", "choices", "branches", "runs", "drafts")

_GROWING: Final = {"text": "text", "reasoning": "text", "tool_call": "arguments"}
"""Part type to the key that holds a ``Text``."""


def message_map(message: Message) -> Map[Any]:
    """Return a message as a Map that is not in a document yet."""
    fields: dict[str, Any] = {
        "role": message.role,
        "parents": list(message.parents),
        "branch": message.branch,
        "created": message.created,
        "author": message.author.as_json(),
        "parts": Array([part_map(part) for part in message.parts]),
        "status": message.status,
        "nonce": message.nonce,
        "hidden": Array([]),
    }
    generated = {
        "run": message.run,
        "model": message.model,
        "usage": message.usage,
        "stop_reason": message.stop_reason,
    }
    return Map(fields | {key: value for key, value in generated.items() if value is not None})


def part_map(part: Part) -> Map[Any]:
    """Return a part as a Map that is not in a document yet."""
    fields: dict[str, Any] = part.as_json()
    growing = _GROWING.get(part.type)
    if growing is not None:
        fields[growing] = Text(fields.get(growing, ""))
    return Map(fields)


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
