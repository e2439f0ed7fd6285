"""Real files of other programs, where they lie beside the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import Conversation, Store
from syncd.interchange import Findings, encode_conversation, id_of, put_in
from syncd.interchange.sources import conversations
from tests.syncd.interchange.reading import DATA, take_in

FILES = sorted(
    str(path.relative_to(DATA)) for path in DATA.rglob("*.json*") if path.name != "INDEX.json"
) if DATA.is_dir() else []  # fmt: skip
NOT_CONVERSATIONS = ("simple-invalid.json", "journal.jsonl")
KNOWN = [name for name in FILES if not name.endswith(NOT_CONVERSATIONS)]
SEALED = ("signature", "thinkingSignature", "encrypted_content")

needs_files = pytest.mark.skipif(not FILES, reason="no real files beside the project: ../shared/data")


def sealed_in(value: Any) -> list[str]:
    """Return every hidden field in a file of JSON."""
    if isinstance(value, list):
        return [found for item in value for found in sealed_in(item)]
    if not isinstance(value, dict):
        return []
    own = [value[key] for key in SEALED if isinstance(value.get(key), str) and len(value[key]) > 30]
    return own + [found for item in value.values() for found in sealed_in(item)]


def values(path: Path) -> list[Any]:
    """Return the JSON values of a file."""
    if path.suffix == ".json":
        return [json.loads(path.read_text())]
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def kept(found: list[Conversation]) -> str:
    """Return all that is sealed into conversations, message by message."""
    messages = ((c, m) for c in found for m in sorted(c.messages(), key=lambda message: message.id))
    fields = (f for c, m in messages for f in c.hidden(m.id))
    return "\n".join(f.data.decode() if isinstance(f.data, bytes) else str(f.data) for f in fields)


@needs_files
@pytest.mark.parametrize("name", KNOWN)
def test_a_real_file_comes_in_whole(name: str) -> None:
    """Every sealed field is there byte for byte, nothing can't be read, and a second time adds nothing."""
    store, findings = Store(":memory:"), Findings()
    found = take_in(store, DATA / name, findings)
    all_kept = kept(found)
    assert all(field in all_kept for field in sealed_in(values(DATA / name)))
    assert not any(conversation.problems() for conversation in found)
    again = [put_in(store.join(id_of(each)), each, findings) for each in conversations(DATA / name, findings)]
    assert {written.messages for written in again} <= {0}


@needs_files
@pytest.mark.parametrize("name", KNOWN)
def test_an_export_comes_back_with_the_same_digests(name: str) -> None:
    """Elsewhere every branch has the same digest and hidden fields, and the export is the same again."""
    for conversation in take_in(Store(":memory:"), DATA / name):
        text = json.dumps(encode_conversation(conversation))
        copy = Store(":memory:").join(conversation.id)
        put_in(copy, json.loads(text), Findings())
        assert copy.branches == conversation.branches
        for branch in conversation.branches:
            assert copy.log(branch).digest == conversation.log(branch).digest
        assert kept([copy]) == kept([conversation])
        assert json.dumps(encode_conversation(copy), sort_keys=True) == json.dumps(
            json.loads(text), sort_keys=True
        )


@needs_files
def test_the_branches_of_a_real_tree() -> None:
    """An Open-Assistant tree keeps every message, and its best replies are main."""
    found = take_in(Store(":memory:"), DATA / "openassistant" / "en_100_tree.jsonl")
    assert len(found) == 52
    assert all(len(conversation.log().messages) > 1 for conversation in found)
    assert max(len(conversation.branches) for conversation in found) > 5
