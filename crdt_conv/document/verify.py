"""
What is wrong with a document, in a form that a program can use.

A document comes from strangers: whatever can't be read is kept, passed over and
named here, one problem an entry. Pure; no document is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from crdt_conv.document import schema
from crdt_conv.document.document import Document
from crdt_conv.document.index import Index
from crdt_conv.graph.graph import Graph
from crdt_conv.ids import MessageId, now_ms
from crdt_conv.messages.message import PART_TYPES, ROLES, STATUSES, Message
from crdt_conv.messages.node import Node

Code: TypeAlias = Literal[
    "malformed",
    "missing_parent",
    "cycle",
    "pending_update",
    "refused_update",
    "unknown_root",
    "unknown_schema",
    "unknown_role",
    "unknown_status",
    "unknown_part",
    "future_clock",
    "malformed_branch",
    "malformed_choice",
    "missing_blob",
]

HIDING: Final = frozenset({"malformed", "missing_parent", "cycle", "pending_update", "refused_update"})
AHEAD_MS: Final = 24 * 3600 * 1000
"""A message from further in the future than this is doubtful; nothing depends on it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong.

    ``root`` and ``key`` say where (empty: the whole document); ``text`` says it
    for people, without a message's content.
    """

    code: Code
    text: str
    root: str = ""
    key: str = ""

    @property
    def is_hiding(self) -> bool:
        """Whether something is not shown because of it."""
        return self.code in HIDING


def verify(document: Document, index: Index, has_blob: Callable[[str], bool]) -> list[Problem]:
    """Return all problems: of the document, of its graph, of single messages."""
    return [
        *_document_problems(document, index),
        *_graph_problems(index),
        *_message_problems(index),
        *_blob_problems(index, has_blob),
    ]


def _document_problems(document: Document, index: Index) -> Iterator[Problem]:
    if document.is_pending:
        yield Problem("pending_update", "some update waits for another that has not come")
    if document.refused:
        yield Problem("refused_update", f"{document.refused} updates of the log can't be integrated")
    for name in document.unknown_roots():
        yield Problem("unknown_root", f"the root {name!r} is not of schema {schema.SCHEMA}", name)
    known = index.roots["meta"].get("schema", schema.SCHEMA)
    if known != schema.SCHEMA:
        yield Problem("unknown_schema", f"schema {known!r:.40}: this program reads {schema.SCHEMA}", "meta")
    for name, entry in index.roots["branches"].items():
        if not isinstance(entry, dict):
            yield Problem("malformed_branch", "it is no Map", "branches", name)
    for key, choice in index.roots["choices"].items():
        if not isinstance(choice, str):
            yield Problem("malformed_choice", "it is no message id", "choices", key)


def _graph_problems(index: Index) -> Iterator[Problem]:
    for key, reason in sorted(index.quarantined.items()):
        yield Problem("malformed", reason, "messages", key)
    circling = _cycles(index.graph)
    for waiting in index.graph.waiting():
        if waiting.message.id in circling:
            yield Problem("cycle", "its parents lead round in a circle", "messages", waiting.message.id)
        else:
            missing = ", ".join(waiting.missing[:3])
            text = f"it waits for {len(waiting.missing)} parents: {missing:.200}"
            yield Problem("missing_parent", text, "messages", waiting.message.id)


def _cycles(graph: Graph[Node]) -> set[MessageId]:
    """Return the waiting messages on a cycle of parents, or between two."""
    above = {entry.message.id: {p for p in entry.missing if graph.is_waiting(p)} for entry in graph.waiting()}
    below: dict[MessageId, set[MessageId]] = {message_id: set() for message_id in above}
    for message_id, parents in above.items():
        for parent in parents:
            below[parent].add(message_id)
    # What ends upwards only waits for a missing parent, what ends downwards only stands on a cycle.
    left = _peel(set(above), above, below)
    return _peel(left, below, above)


def _peel(
    left: set[MessageId], edges: dict[MessageId, set[MessageId]], back: dict[MessageId, set[MessageId]]
) -> set[MessageId]:
    """Take away, again and again, whatever has no edge to something left; returns the rest."""
    degrees = {message_id: len(edges[message_id] & left) for message_id in left}
    ready = [message_id for message_id, degree in degrees.items() if degree == 0]
    while ready:
        gone = ready.pop()
        del degrees[gone]
        for other in back[gone]:
            if other in degrees:
                degrees[other] -= 1
                if degrees[other] == 0:
                    ready.append(other)
    return set(degrees)


def _message_problems(index: Index) -> Iterator[Problem]:
    latest = now_ms() + AHEAD_MS
    ids = [node.id for node in index.graph]
    for message in index.messages(ids):
        yield from _doubts(message, latest)


def _blob_problems(index: Index, has_blob: Callable[[str], bool]) -> Iterator[Problem]:
    for node in index.graph:
        for blob in node.blobs:
            if not has_blob(blob):
                yield Problem("missing_blob", f"the blob {blob:.64} is not here", "messages", node.id)


def _doubts(message: Message, latest: int) -> Iterator[Problem]:
    if message.role not in ROLES:
        yield Problem("unknown_role", f"the role {message.role!r:.40} is unknown", "messages", message.id)
    if message.status not in STATUSES:
        yield Problem(
            "unknown_status", f"the status {message.status!r:.40} is unknown", "messages", message.id
        )
    for part_type in sorted({part.type for part in message.parts} - PART_TYPES):
        yield Problem("unknown_part", f"a part of type {part_type!r:.40}", "messages", message.id)
    if message.created > latest:
        yield Problem("future_clock", "it was written after tomorrow", "messages", message.id)
