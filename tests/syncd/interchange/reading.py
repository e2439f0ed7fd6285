"""Files of other programs for tests, and what comes of them in a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crdt_conv import Conversation, Store
from syncd.interchange import Findings, conversations, id_of, put_in

DATA = Path(__file__).parents[4] / "shared" / "data" / "conversations"


def take_in(store: Store, path: Path, findings: Findings | None = None) -> list[Conversation]:
    """Import a file; returns its conversations."""
    told = findings or Findings()
    found = []
    for each in conversations(path, told):
        conversation = store.join(id_of(each))
        put_in(conversation, each, told)
        found.append(conversation)
    return found


def written(path: Path, value: Any) -> Path:
    """Write a file: a text as it is, a list of lines as JSON lines, else JSON."""
    if isinstance(value, tuple):
        value = "".join(json.dumps(line) + "\n" for line in value)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def shape(conversation: Conversation, branch: str = "main") -> list[tuple[str, ...]]:
    """Return a log as roles, each with the types of its parts."""
    return [(m.role, *(part.type for part in m.parts)) for m in conversation.log(branch).messages]


def said(conversation: Conversation, branch: str = "main") -> list[str]:
    """Return the texts of a log."""
    return [message.text for message in conversation.log(branch).messages]
