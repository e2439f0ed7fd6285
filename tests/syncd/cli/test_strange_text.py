"""What strangers and models wrote is printed, and not obeyed by a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text
from typer.testing import CliRunner

from crdt_conv import Conversation, Store, Target, new_part
from syncd.cli.conv import app

NAMED = "\x1b]0;owned\x07"
"""Names a terminal's window."""
CLEARS = "\x9b2J"
"""Clears a terminal, in one byte where it takes eight bits."""
EVIL = f"hello [/red] [bold] {NAMED}{CLEARS} there"
SHOWN = [
    ["ls"],
    ["show", "odd"],
    ["show", "odd", "--tree"],
    ["show", "odd", "--branch", EVIL, "--hidden"],
    ["search", "hello"],
    ["explain", "odd", "--adapter", "openai-chat", "--model", "m"],
    ["verify", "odd"],
    ["approve", "odd"],
]


def write_by_hand(conversation: Conversation) -> None:
    """Write a message whose branch, role, kinds and names our own interface refuses."""
    doc: Doc[Map[Any]] = Doc()
    doc.apply_update(conversation.encode())
    author = {"kind": EVIL, "device": EVIL, "name": EVIL}
    for message_id, role in {"stranger": "assistant", f"s{EVIL}": EVIL}.items():
        parts = [
            Map({"id": EVIL, "type": "text", "text": Text(EVIL)}),
            Map({"id": "p", "type": EVIL, "name": EVIL}),
            Map({"id": "m", "type": "media", "mime": EVIL, "name": EVIL, "sha256": EVIL, "size": 1}),
        ]
        hidden = dict.fromkeys(("provider", "space", "kind", "binding", "at", "data"), EVIL)
        fields = {"role": role, "parents": [], "branch": EVIL, "created": 1, "author": author, "model": EVIL}
        doc.get("messages", type=Map)[message_id] = Map(
            {**fields, "status": EVIL, "parts": Array(parts), "hidden": Array([Map(hidden)])}
        )
    conversation.receive(doc.get_update())


@pytest.mark.parametrize("command", SHOWN, ids=lambda command: " ".join(command[:3]))
def test_no_command_obeys_what_it_shows(command: list[str], tmp_path: Path) -> None:
    """Titles, texts, names, branches: all hold controls and markup, and none is obeyed."""
    db = tmp_path / "chats.db"
    with Store(db, name=EVIL) as store:
        conversation = store.create(EVIL, conversation_id="odd")
        conversation.append("user", EVIL)
        call = new_part("tool_call", call_id="c1", name=EVIL, arguments=EVIL)
        conversation.append("assistant", EVIL, parts=[call])
        conversation.append("tool", parts=[new_part("tool_result", call_id="c1", content=EVIL)])
        conversation.runs.request(Target("openai-chat", EVIL))
        write_by_hand(conversation)
    told = CliRunner().invoke(app, [command[0], *command[1:], "--db", str(db)])
    assert told.exit_code in {0, 1}
    assert told.output
    assert not {"\x1b", "\x07", "\x9b"} & {*told.output}
