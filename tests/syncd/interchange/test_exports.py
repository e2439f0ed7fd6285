"""Conversations for other programs: what goes out as chat JSON comes in again."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map

from crdt_conv import Store
from syncd.interchange import chat_line, encode_conversation, markdown
from tests.syncd.interchange.reading import shape, take_in, written
from tests.syncd.interchange.test_sessions import DATA_URL, PNG

TOOL = {
    "type": "function",
    "function": {"name": "ls", "description": "List.", "parameters": {"type": "object"}},
}
SEARCH = {"type": "web_search"}
LINE = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "See:"}, {"type": "image_url", "image_url": {"url": DATA_URL}}]},
        {"role": "assistant", "content": "I look.", "reasoning_content": "Hm", "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "ls", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "a.txt"},
        {"role": "assistant", "content": "One file."},
    ],
    "tools": [TOOL, SEARCH],
}  # fmt: skip


def test_chat_lines_carry_tools_and_pictures(tmp_path: Path) -> None:
    """A line comes out as it came in: tools, pictures, reasoning, calls and results."""
    [found] = take_in(Store(":memory:"), written(tmp_path / "chat.jsonl", (LINE,)))
    line = json.loads(chat_line(found))
    assert (line["messages"], line["tools"]) == (LINE["messages"], LINE["tools"])


def test_chat_lines_come_in_again(tmp_path: Path) -> None:
    """What was exported and imported is exported the same, and its picture is there."""
    [found] = take_in(Store(":memory:"), written(tmp_path / "chat.jsonl", (LINE,)))
    [again] = take_in(Store(":memory:"), written(tmp_path / "again.jsonl", chat_line(found)))
    assert shape(again) == shape(found)
    first, second = json.loads(chat_line(found)), json.loads(chat_line(again))
    assert second["messages"] == first["messages"]
    picture = again.log().messages[2].parts[1]
    assert again.blob(str(picture.content["sha256"])) == PNG


def test_markdown_says_everything_that_can_be_read(tmp_path: Path) -> None:
    """Texts, reasoning, calls, results, and that a picture was there."""
    [found] = take_in(Store(":memory:"), written(tmp_path / "chat.jsonl", (LINE,)))
    shown = markdown(found)
    for text in ("Be brief.", "See:", "*Attached: image/png*", "> Hm", "`ls`", "a.txt", "One file."):
        assert text in shown


@pytest.mark.parametrize("names", [*permutations(("title", "zebra", "apple"))])
def test_json_stands_in_one_order(names: tuple[str, ...]) -> None:
    """Whichever order another device's keys came in, in what is not messages, too."""
    doc: Doc[Map[Any]] = Doc()
    entry = {name: dict.fromkeys(names, 1) for name in names}
    for root in ("meta", "branches", "choices", "runs"):
        for name in names:
            doc.get(root, type=Map)[name] = entry
    with Store(":memory:") as store:
        conversation = store.join("c")
        conversation.receive(doc.get_update())
        whole = encode_conversation(conversation)
    for root in ("meta", "branches", "choices", "runs"):
        assert len(whole[root]) == len(names)
        assert json.dumps(whole[root]) == json.dumps(whole[root], sort_keys=True)
