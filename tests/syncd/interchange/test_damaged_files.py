"""Files that are cut off, damaged, shuffled, in another encoding or packed: never more than a refusal."""

from __future__ import annotations

import copy
import gzip
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import sqlite_utils
from hypothesis import given
from hypothesis import strategies as st
from llm.migrations import MIGRATIONS

from crdt_conv import InvalidMessage, Store
from syncd.interchange import Findings, ImportRefused, conversations, id_of, put_in
from tests.syncd.interchange import test_chat_files as chats
from tests.syncd.interchange import test_formats as formats
from tests.syncd.interchange import test_sessions as sessions
from tests.syncd.interchange.reading import said, take_in

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ASKED = {"role": "user", "content": "Where?"}

# A list is JSON lines.
SAMPLES: dict[str, Any] = {
    "chatgpt": formats.chatgpt(
        formats.node("q", "root", "user", "Where?"),
        formats.node("a1", "q", "assistant", "To the sea.", metadata={"citations": [{"url": "x"}]}),
        formats.node("a2", "q", "assistant", '{"query": 1}', recipient="browser"),
        formats.node("r", "a2", "tool", {"content_type": "image_asset_pointer", "asset_pointer": "x://y"}),
        current="r",
    ),
    "claude-ai": formats.CLAUDE_AI,
    "claude-code": [
        formats.line("q", None, "user", "Where?"),
        formats.line("b", "q", "assistant", [formats.use(1)], message={"id": "m", "usage": {"x": 1}}),
        formats.line("r", "b", "user", [formats.result(1)]),
        {"type": "summary", "summary": "Trip", "leafUuid": "r"},
    ],
    "codex": [
        sessions.META,
        sessions.asks("Where?"),
        formats.item("reasoning", summary=[{"type": "summary_text", "text": "Hm"}], encrypted_content="gAAA"),
        formats.item("function_call_output", call_id="c", output=[{"type": "input_text", "text": "x"}]),
        sessions.event("thread_rolled_back", num_turns=1),
    ],
    "gemini-cli": formats.GEMINI,
    "gemini-cli, lines": list(sessions.GEMINI),
    "gemini-cli, checkpoint": sessions.CONTENTS,
    "pi": list(sessions.pi("openai-responses", "gpt-5", {"type": "thinking", "thinkingSignature": "{}"})),
    "librechat": {"conversationId": "c", "messagesTree": [
        {"messageId": "q", "isCreatedByUser": True, "text": "Where?", "files": [{"filepath": "a.png"}],
         "children": [{"messageId": "a", "parentMessageId": "q", "content": [
             {"type": "tool_call", "tool_call": {"id": "t", "name": "ls", "args": "{}", "output": "x"}}]}]}]},
    "openassistant": {"message_tree_id": "q", "prompt": {
        "message_id": "q", "role": "prompter", "text": "Where?",
        "replies": [{"message_id": "a", "role": "assistant", "text": "Sea.", "rank": 0}]}},
    "sharegpt": chats.TOOLS["ShareGPT"],
    "chat": chats.TOOLS["Anthropic's"],
    "preferences": chats.PREFERENCES["prompt"],
}  # fmt: skip
NAMES = sorted(SAMPLES)
JUNK: tuple[Any, ...] = (
    None, True, -1, 1e300, 10**30, "", "x", "\ud83d", "\x00", [], {}, [[]], [None], ["a", 1], [{}],
    {"a": {"b": [1]}}, {"type": "text"}, {"text": 1},
)  # fmt: skip


def encoded(name: str, value: Any) -> bytes:
    """Return a sample as its program writes it."""
    lines = isinstance(SAMPLES[name], list) and isinstance(value, list) and name != "gemini-cli, checkpoint"
    return ("".join(json.dumps(line) + "\n" for line in value) if lines else json.dumps(value)).encode()


def survives(data: bytes, suffix: str = ".json") -> list[str]:
    """Import bytes; returns the ids, after everything that always holds has been looked at."""
    store, findings = Store(":memory:"), Findings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{suffix}")
        path.write_bytes(data)
        ids: list[str] = []
        with suppress(ImportRefused, InvalidMessage):
            for found in conversations(path, findings):
                conversation = store.join(id_of(found))
                put_in(conversation, found, findings)
                assert not conversation.problems()
                assert put_in(conversation, found, findings).messages == 0
                ids.append(conversation.id)
    return ids


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value: what holds it, and where."""
    for key in (
        list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    ):
        yield value, key
        yield from places(value[key])


@given(st.sampled_from(NAMES), st.data())
def test_keys_that_are_missing_or_of_another_type(name: str, data: st.DataObject) -> None:
    """Whatever is dropped or replaced, the file comes in or is refused."""
    value = {"": copy.deepcopy(SAMPLES[name])}
    for _ in range(data.draw(st.integers(1, 4))):
        held, key = data.draw(st.sampled_from(list(places(value))))
        if isinstance(held, list) and key >= len(held):
            continue
        if data.draw(st.booleans()) and isinstance(held, dict) and key:
            held.pop(key, None)
        else:
            held[key] = copy.deepcopy(data.draw(st.sampled_from(JUNK)))
    survives(encoded(name, value[""]))


@given(st.sampled_from(NAMES), st.data())
def test_cut_at_any_byte(name: str, data: st.DataObject) -> None:
    """The beginning of a file, or its end: what is whole of it comes in."""
    whole = encoded(name, SAMPLES[name])
    at = data.draw(st.integers(0, len(whole)))
    survives(whole[:at], ".jsonl")
    survives(whole[at:], ".txt")


@given(st.sampled_from(NAMES), st.binary(min_size=1, max_size=3), st.data())
def test_bytes_that_were_changed(name: str, noise: bytes, data: st.DataObject) -> None:
    """Noise in its middle."""
    whole = encoded(name, SAMPLES[name])
    at = data.draw(st.integers(0, len(whole)))
    survives(whole[:at] + noise + whole[at + len(noise) :])


LINES = [name for name in NAMES if isinstance(SAMPLES[name], list) and name != "gemini-cli, checkpoint"]


@given(st.sampled_from(LINES), st.data())
def test_lines_that_are_shuffled_and_there_twice(name: str, data: st.DataObject) -> None:
    """In whatever order, and how often, the session is known and comes in."""
    lines = data.draw(st.permutations(SAMPLES[name]))
    twice = data.draw(st.lists(st.sampled_from(SAMPLES[name]), max_size=3))
    assert len(survives(encoded(name, [*lines, *twice]), ".jsonl")) == 1


ENCODINGS = {
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "CR LF": lambda data: data.replace(b"\n", b"\r\n"),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "UTF-16, big end first": lambda data: b"\xfe\xff" + data.decode().encode("utf-16-be"),
    "UTF-32": lambda data: data.decode().encode("utf-32"),
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "white space around": lambda data: b"\n\n  " + data + b"\n \n",
}


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS.keys())
@pytest.mark.parametrize("name", NAMES)
def test_encodings(name: str, encoding: Any) -> None:
    """However its text is written down or packed, it is the same conversation."""
    plain = encoded(name, SAMPLES[name])
    assert survives(encoding(plain)) == survives(plain) != []


UNREADABLE = {
    "nothing": (b"", "is empty"),
    "white space": (b"\n\n", "no JSON"),
    "a picture": (formats.PIXEL, "no JSON"),
    "half of a zstd": (zstd.compress(json.dumps([ASKED] * 99).encode())[:-5], "can't be unpacked"),
    "noise in a zstd": (b"\x28\xb5\x2f\xfd" + b"x" * 20, "can't be unpacked"),
    "half of a gzip": (gzip.compress(json.dumps([ASKED] * 99).encode())[:-12], "can't be unpacked"),
    "a gzip of nothing known": (gzip.compress(b"Dear diary,"), "no JSON"),
    "deep": (b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no whole JSON"),
}


@pytest.mark.parametrize(("data", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_can_t_be_read_says_why(tmp_path: Path, data: bytes, reason: str) -> None:
    """One clear line, that names the file."""
    (tmp_path / "odd.json").write_bytes(data)
    with pytest.raises(ImportRefused, match=reason) as refused:
        take_in(Store(":memory:"), tmp_path / "odd.json")
    assert "odd.json" in str(refused.value)


def test_one_bad_entry_keeps_no_other_out(tmp_path: Path) -> None:
    """Entries of a list, lines, and files of a zip: the others come in, and what did not is told."""
    good = {"messages": [ASKED]}
    bad: list[Any] = [{"title": "no messages"}, 5]
    (tmp_path / "list.json").write_text(json.dumps([*bad, good]))
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, [good, bad[0], good | {"id": "b"}])))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.json", "{}")
        archive.writestr("b.json", "half a fi")
        archive.writestr("conversations.json", json.dumps([good]))
    for name, count, damaged in (("list.json", 1, 2), ("lines.jsonl", 2, 1), ("all.zip", 1, 2)):
        findings = Findings()
        found = take_in(Store(":memory:"), tmp_path / name, findings)
        assert [said(conversation) for conversation in found] == [["Where?"]] * count
        assert findings.damaged.total() == damaged


def test_a_list_that_is_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    """Conversations before the cut are there, and the file is refused with a reason."""
    store = Store(":memory:")
    (tmp_path / "cut.json").write_text(json.dumps([{"messages": [ASKED]}, {"messages": [ASKED, ASKED]}])[:-9])
    with pytest.raises(ImportRefused, match="no whole JSON"):
        take_in(store, tmp_path / "cut.json")
    assert len(store.list()) == 1


def exported() -> bytes:
    """Return a zip with a conversation and a picture."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([SAMPLES["chatgpt"]]))
        archive.writestr("file-a-x.png", formats.PIXEL)
    return data.getvalue()


def logged() -> bytes:
    """Return a database of llm's with a conversation in each of its shapes."""
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite_utils.Database(Path(folder, "logs.db"))
        for migration in MIGRATIONS:
            cast("Any", migration)(db)
        rows: dict[str, dict[str, Any]] = {
            "conversations": {"id": "c", "name": "Trip", "model": "m"},
            "responses": {
                "id": "r",
                "model": "m",
                "prompt": "Where?",
                "response": "Sea.",
                "conversation_id": "c",
            },
            "messages": {"hash": "h", "role": "user"},
            "parts": {"message_hash": "h", "position": 0, "type": "text", "text": "Where?"},
            "threads": {"id": "t", "name": "Trip", "tip_message_hash": "h"},
        }
        for name, row in rows.items():
            cast("Any", db[name]).insert(row)
        db.close()
        return Path(folder, "logs.db").read_bytes()


PACKED = {"zip": exported(), "database": logged()}


@given(st.sampled_from(sorted(PACKED)), st.data())
def test_zips_and_databases_that_are_damaged(name: str, data: st.DataObject) -> None:
    """Noise in an archive or a database, or half of one: a refusal, whatever its name."""
    whole = bytearray(PACKED[name])
    places_ = st.integers(17, len(whole) - 1)
    for at, byte in data.draw(st.lists(st.tuples(places_, st.integers(0, 255)), min_size=1, max_size=20)):
        whole[at] = byte
    cut = data.draw(st.one_of(st.none(), places_))
    survives(bytes(whole[:cut]), data.draw(st.sampled_from([".zip", ".db", ".json"])))


@pytest.mark.parametrize("name", sorted(PACKED))
def test_zips_and_databases_by_another_name(name: str) -> None:
    """What it is is told by what is in it."""
    assert survives(PACKED[name], ".jsonl") == survives(PACKED[name], ".zip") != []


def test_numbers_that_no_document_can_hold(tmp_path: Path) -> None:
    """A count of tokens that is none is let go, and the answer stays."""
    line = formats.line("a", None, "assistant", "Hi", message={"usage": {"input_tokens": 10**30}})
    (tmp_path / "s.jsonl").write_text(json.dumps(line))
    [found] = take_in(Store(":memory:"), tmp_path / "s.jsonl")
    assert (found.log().messages[0].text, found.log().messages[0].usage) == ("Hi", {"cached_tokens": 0})
    assert not found.problems()
