"""
Schema 1 as shared types: how messages, parts and runs are written into a document.

Text that may still grow is a ``Text``; lists that only grow are an ``Array``;
everything else is a plain value. The reading side is ``message`` and ``run``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pycrdt import Map, Text

from crdt_conv.errors import InvalidMessage
from crdt_conv.messages.fields import Json
from crdt_conv.messages.hidden import HiddenField, hidden_json
from crdt_conv.messages.message import Message, Part
from crdt_conv.yjs.encoding import ListOf, MapOf, TextOf

SCHEMA: Final = 1
ROOTS: Final = ("meta", "messages", "choices", "branches", "runs", "drafts")
SMALL_ROOTS: Final = ("meta", "choices", "branches")
"""The roots that are always read whole."""

_GROWING: Final = {"text": "text", "reasoning": "text", "tool_call": "arguments"}
"""Part type to the key that holds a ``Text``."""


def message_map(message: Message, hidden: Iterable[HiddenField] = ()) -> MapOf:
    """
    Return a message with its hidden fields as it stands in a document.

    Raises:
        InvalidMessage: A hidden field can't be kept exactly.
    """
    fields: dict[str, Any] = {
        "role": message.role,
        "parents": list(message.parents),
        "branch": message.branch,
        "created": message.created,
        "author": message.author.as_json(),
        "parts": ListOf(part_map(part) for part in message.parts),
        "status": message.status,
        "nonce": message.nonce,
        "hidden": ListOf(hidden_map(field) for field in hidden),
    }
    generated = {
        "run": message.run,
        "model": message.model,
        "usage": message.usage,
        "stop_reason": message.stop_reason,
        "source": list(message.source) or None,
    }
    return MapOf(fields | {key: value for key, value in generated.items() if value is not None})


def part_map(part: Part) -> MapOf:
    """
    Return a part as it stands in a document.

    Raises:
        InvalidMessage: What should be its text is none.
    """
    fields: dict[str, Any] = part.as_json()
    growing = _GROWING.get(part.type)
    if growing is not None:
        text = fields.get(growing, "")
        if not isinstance(text, str):
            raise InvalidMessage(f"the {growing} of a {part.type} part is no text")
        fields[growing] = TextOf(text)
    return MapOf(fields)


def hidden_map(field: HiddenField) -> MapOf:
    """
    Return a hidden field as it stands in a document.

    Raises:
        InvalidMessage: It can't be kept exactly.
    """
    return MapOf(hidden_json(field))


def growing_text(part: Map[Any]) -> Text | None:
    """Return the ``Text`` of a part that can stream, or nothing."""
    key = _GROWING.get(str(part.get("type")))
    text = part.get(key) if key is not None else None
    return text if isinstance(text, Text) else None


def run_map(fields: Mapping[str, Json]) -> MapOf:
    """Return a run as it stands in a document; claims and outputs grow."""
    return MapOf({**fields, "claims": ListOf(), "outputs": ListOf()})


def plain_map(fields: Mapping[str, Json]) -> MapOf:
    """Return plain values as a Map of a document."""
    return MapOf(fields)
