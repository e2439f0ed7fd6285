"""What programs print of a conversation: the same bytes wherever it is read."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from crdt_conv import Conversation, HiddenField, Store, Target
from syncd.view import conversation_json, hidden_json

NAMES = ("zebra", "apple", "mango")


def printed(conversation: Conversation) -> str:
    """Return all that programs print, as text: the order of keys counts."""
    shown = conversation_json(conversation, hidden=True)
    return json.dumps([shown, [run.as_json() for run in conversation.runs.all()]])


def mapped(names: tuple[str, ...], inner: Any = 1) -> dict[str, Any]:
    """Return an object whose keys were written in some order."""
    return dict.fromkeys(names, inner)


def written(names: tuple[str, ...]) -> bytes:
    """Return an update of a stranger who writes keys in some order, in Maps and in plain objects."""
    doc: Doc[Map[Any]] = Doc(client_id=7)
    part = {"id": "p", "type": "text", "text": Text("hello"), **mapped(names, [mapped(names, mapped(names))])}
    doc.get("messages", type=Map)["m"] = Map(
        {
            "role": "assistant",
            "parents": [],
            "parts": Array([Map({key: part[key] for key in (*names, "id", "type", "text")})]),
            "usage": mapped(names, mapped(names)),
            "hidden": Array([]),
        }
    )
    doc.get("runs", type=Map)["r"] = Map(
        {
            "target": mapped(names) | {"adapter": "a", "params": mapped(names, mapped(names))},
            "parents": [],
            "branch": "main",
            "state": "failed",
            "created": 1,
            "claims": Array([mapped(names) | {"executor": "e", "epoch": 1, "at": 1}]),
            "sent": mapped(names, mapped(names)),
            "error": mapped(names) | {"type": "t", "message": "m"},
        }
    )
    return doc.get_update()


@pytest.fixture(scope="module")
def expected() -> str:
    """Return what is printed of it, in the order that the alphabet gives."""
    with Store(":memory:") as store:
        conversation = store.join("c")
        conversation.receive(written(tuple(sorted(NAMES))))
        return printed(conversation)


@pytest.mark.parametrize("names", [*permutations(NAMES)])
def test_keys_stand_in_one_order(names: tuple[str, ...], expected: str) -> None:
    """Whichever order they were written in, in parts, usage, and runs, also deep inside."""
    with Store(":memory:") as store:
        conversation = store.join("c")
        conversation.receive(written(names))
        (message,) = conversation_json(conversation)["messages"]
        assert list(message["parts"][0]) == ["id", "type", "apple", "mango", "text", "zebra"]
        assert list(message["usage"]) == sorted(NAMES)
        assert list(message["parts"][0]["apple"][0]["mango"]) == sorted(NAMES)
        assert printed(conversation) == expected


def test_two_replicas_print_the_same_bytes(tmp_path: Path) -> None:
    """One wrote it, another received it, read it from its index, and from a compacted log."""
    one, other = Store(":memory:"), Store(tmp_path / "other.db")
    mine = one.create("Trip")
    asked = mine.append("user", "Where?")
    mine.add_hidden(asked.id, HiddenField("p", "p", "k", mapped(NAMES, mapped(NAMES)), created=1))
    mine.runs.request(Target("a", "m", params=mapped(NAMES, mapped(NAMES))))
    theirs = other.join(mine.id)
    theirs.receive(mine.encode())
    assert printed(theirs) == printed(mine)
    other.compact()
    other.close()
    with Store(tmp_path / "other.db") as again:
        assert printed(again.open(mine.id)) == printed(mine)


def test_what_a_provider_sealed_is_printed_in_one_order() -> None:
    """JSON in a hidden field, too."""
    sealed = [
        json.dumps(hidden_json(HiddenField("p", "p", "k", mapped(n, mapped(n))))) for n in permutations(NAMES)
    ]
    assert len(set(sealed)) == 1
