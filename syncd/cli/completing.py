"""What a shell may complete: the ids of conversations, with their titles, and the names of branches."""

from __future__ import annotations

from pathlib import Path

import typer

from crdt_conv import CrdtConvError, StoreMissing
from syncd.cli.workspace import find, reading


def _db(context: typer.Context) -> Path | None:
    for level in (context, context.find_root()):
        found = level.params.get("db")
        if found is not None:
            return Path(found)
    return None


def complete_conversation(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return ids that begin so, and the titles of those conversations."""
    db = _db(context)
    if db is None:
        return []
    try:
        with reading(db) as store:
            infos = store.list()
    except (CrdtConvError, StoreMissing, OSError):
        return []
    return [(info.id, info.title or "untitled") for info in infos if info.id.startswith(incomplete.upper())]


def complete_branch(context: typer.Context, incomplete: str) -> list[str]:
    """Return the branches of the conversation that stands before."""
    db = _db(context)
    # Behind an option without its value click reads no arguments: they stand as they were typed.
    typed = next((word for word in context.args if not word.startswith("-")), None)
    name = context.params.get("conversation_id") or typed
    if db is None or not name:
        return []
    try:
        with reading(db) as store:
            branches = store.open(find(store, name)).branches
    except (CrdtConvError, OSError):
        return []
    return [branch for branch in branches if branch.startswith(incomplete)]
