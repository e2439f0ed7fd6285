"""
Redaction in a document: everything that a message says or hides is deleted, its place stays.

``parts`` and ``hidden`` are replaced by new, empty Arrays: what another device
writes into the old ones at the same time dies with them. The mark ``redacted``
is a key of its own, since a status written at the same time may win over ours. It
reaches what squash and cherry-pick made from the message, also what comes in later,
unless it is ``alone``. What the error of a run may quote goes too.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from pycrdt import Array, Map

from crdt_conv.document.document import Document
from crdt_conv.errors import MalformedEntry
from crdt_conv.graph.graph import Graph
from crdt_conv.ids import MessageId
from crdt_conv.messages.message import REDACTED
from crdt_conv.messages.node import Node
from crdt_conv.runs.run import parse_run

KEPT: Final = frozenset({
    "role", "parents", "branch", "created", "author", "parts", "status", "run", "model", "usage",
    "stop_reason", "hidden", "redacted", "source",
})  # fmt: skip
"""The keys that a redacted message keeps; what stands under any other may quote what it said."""


SAID: Final = frozenset({"parts", "hidden"})

ALONE: Final = "alone"
"""The mark of a message whose copies stay as they are."""


def empty(document: Document, message_id: MessageId, *, mark: str | bool = True) -> None:
    """Empty a message, inside a transaction; ``True`` goes before ``ALONE`` where it was marked before."""
    entry = document.writable("messages", message_id, KEPT - SAID)
    if entry is None:
        return
    for key in [key for key in entry.keys() if key not in KEPT]:  # noqa: SIM118 - a Map has no other iterator
        del entry[key]
    for key in sorted(SAID):
        if _has_items(entry, key):
            entry[key] = Array([])
    if entry.get("status") != REDACTED:
        entry["status"] = REDACTED
    marked = entry.get("redacted")
    if not marked or (mark is True and marked == ALONE):
        entry["redacted"] = mark


def reaches_copies(document: Document, message_id: MessageId) -> bool:
    """Whether a redacted message's copies are redacted with it."""
    raw = document.read("messages", message_id)
    return isinstance(raw, dict) and raw.get("redacted") != ALONE


def has_rest(document: Document, message_id: MessageId) -> bool:
    """Whether a redacted message still holds what ``empty`` would take out."""
    entry = document.entry("messages", message_id)
    if entry is None:
        # Another program's plain object is only emptied by putting a Map in its place.
        return document.read("messages", message_id) is not None
    return (
        any(key not in KEPT for key in entry.keys())  # noqa: SIM118 - a Map has no other iterator
        or _has_items(entry, "parts")
        or _has_items(entry, "hidden")
        or not entry.get("redacted")
        or entry.get("status") != REDACTED
    )


def _has_items(entry: Map[Any], key: str) -> bool:
    value = entry.get(key)
    return value is not None and not (isinstance(value, Array) and len(value) == 0)


def quoting_runs(document: Document, graph: Graph[Node], redacted: AbstractSet[MessageId]) -> list[str]:
    """
    Return the runs whose error may quote one of some messages.

    A provider's error quotes what it was asked: anything of the log that the run answers.
    """
    found = []
    for run_id, raw in document.read("runs").items():
        try:
            run = parse_run(run_id, raw)
        except MalformedEntry:
            continue
        if run.error and run.error.keys() - {"type"}:
            log = graph.lin_ids(*(parent for parent in run.parents if parent in graph))
            if not redacted.isdisjoint([*log, *run.outputs]):
                found.append(run_id)
    return found


def unquote(document: Document, run_id: str) -> None:
    """Leave of a run's error only its type, inside a transaction."""
    error = document.read_exact("runs", run_id, "error")
    entry = document.writable("runs", run_id)
    if entry is not None and error is not None:
        kind = error.get("type") if isinstance(error, dict) else None
        entry["error"] = {"type": kind if isinstance(kind, str) else "redacted"}
