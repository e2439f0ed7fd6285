"""
Redaction in a document: everything that a message says or hides is deleted, its place stays.

``parts`` and ``hidden`` are replaced by new, empty Arrays: what another device
writes into the old ones at the same time dies with them. The mark ``redacted``
is a key of its own, since a status written at the same time may win over ours.
"""

from __future__ import annotations

from typing import Any, Final

from pycrdt import Array, Map

from crdt_conv.document import Document
from crdt_conv.ids import MessageId
from crdt_conv.message import REDACTED

KEPT: Final = frozenset({
    "role", "parents", "branch", "created", "author", "parts", "status", "run", "model", "usage",
    "stop_reason", "hidden", "redacted", "source",
})  # fmt: skip
"""The keys that a redacted message keeps; what stands under any other may quote what it said."""


def empty(document: Document, message_id: MessageId) -> None:
    """Empty a message, inside a transaction."""
    entry = document.entry("messages", message_id)
    if entry is None:
        return
    for key in [key for key in entry.keys() if key not in KEPT]:  # noqa: SIM118 - a Map has no other iterator
        del entry[key]
    for key in ("parts", "hidden"):
        if _has_items(entry, key):
            entry[key] = Array([])
    if entry.get("status") != REDACTED:
        entry["status"] = REDACTED
    if not entry.get("redacted"):
        entry["redacted"] = True


def has_rest(document: Document, message_id: MessageId) -> bool:
    """Whether a redacted message still holds what ``empty`` would take out."""
    entry = document.entry("messages", message_id)
    return entry is not None and (
        any(key not in KEPT for key in entry.keys())  # noqa: SIM118 - a Map has no other iterator
        or _has_items(entry, "parts")
        or _has_items(entry, "hidden")
        or not entry.get("redacted")
        or entry.get("status") != REDACTED
    )


def _has_items(entry: Map[Any], key: str) -> bool:
    value = entry.get(key)
    return value is not None and not (isinstance(value, Array) and len(value) == 0)
