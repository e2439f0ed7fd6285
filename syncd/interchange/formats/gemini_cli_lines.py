"""
Gemini CLI's sessions since 0.40: JSON lines.

First what the session is, then messages; a message that is there again is a later state of it.
``$set`` changes what the session is, and ``$rewindTo`` goes back before a message: what was said
from there on stays, and what comes is another branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from syncd.interchange.formats.gemini_cli import NAME, add_messages
from syncd.interchange.records import Findings, Imported, an_object, milliseconds, objects, words

__all__ = ["NAME", "matches", "read"]

_FIRST: Final = {"sessionId", "projectHash"}


def matches(records: Sequence[dict[str, Any]]) -> bool:
    """Whether the first records are a session's of Gemini CLI."""
    return any(record.keys() >= _FIRST and "type" not in record for record in records)


def read(records: Iterable[dict[str, Any]], name: str, findings: Findings) -> Imported:
    """Read one session."""
    told: dict[str, Any] = {}
    messages: dict[str, dict[str, Any]] = {}
    parents: dict[str, str | None] = {}
    last: str | None = None
    for number, record in enumerate(records):
        if "$rewindTo" in record:
            last = parents.get(words(record["$rewindTo"]), last)
            continue
        changed = record.get("$set") if "$set" in record else record if record.keys() >= _FIRST else None
        if changed is not None:
            told |= an_object(changed)
            said = objects(an_object(changed).get("messages"))
        else:
            said = [record]
        for message in said:
            key = words(message.get("id")) or f"line-{number}"
            if key not in messages:
                parents[key], last = last, key
            messages[key] = message
    imported = Imported(NAME, words(told.get("sessionId")) or name, words(told.get("summary")))
    imported.fallback = milliseconds(told.get("startTime"))
    _add(imported, messages, parents, last, findings)
    return imported


def _add(
    imported: Imported,
    messages: dict[str, dict[str, Any]],
    parents: dict[str, str | None],
    last: str | None,
    findings: Findings,
) -> None:
    """Add messages behind their parents; one that was only shown stands for what was before it."""
    ends: dict[str, str | None] = {}
    for key, message in messages.items():
        parent = parents[key]
        ends[key] = add_messages(
            imported, [message | {"id": key}], ends[parent] if parent is not None else None, findings
        )
    imported.current = ends[last] if last is not None else None
