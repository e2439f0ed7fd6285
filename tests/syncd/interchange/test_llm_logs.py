"""``llm``'s logs.db, made by ``llm`` itself."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm
import pytest
import sqlite_utils
from llm.migrations import MIGRATIONS, migrate
from sqlite_utils.db import Table

from crdt_conv import Store
from syncd.interchange import Findings, ImportRefused
from tests.syncd.interchange.reading import said, shape, take_in


class Parrot(llm.Model):
    """Says what it is told; asked for the time, it calls a tool first."""

    model_id = "parrot"
    supports_tools = True

    def __init__(self) -> None:
        self.attachment_types = {"text/plain"}

    def execute(self, prompt: Any, stream: Any, response: Any, conversation: Any) -> Iterator[str]:
        if prompt.prompt == "time?" and not prompt.tool_results:
            call = llm.ToolCall(name="now", arguments={"zone": "UTC"}, tool_call_id="t1")
            response.add_tool_call(call)
            yield ""
            return
        yield f"You said: {prompt.prompt or prompt.tool_results[0].output}"


def insert(db: sqlite_utils.Database, table: str, row: dict[str, Any]) -> None:
    """Write a row."""
    found = db[table]
    assert isinstance(found, Table)
    found.insert(row)


def now(zone: str) -> str:
    """Tell the time."""
    return f"noon {zone}"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return a database with one conversation of three answers."""
    path = tmp_path / "logs.db"
    db = sqlite_utils.Database(path)
    typing.cast("Any", migrate)(db)
    talk = Parrot().conversation()
    note = llm.Attachment(content=b"socks", type="text/plain")
    answers = [talk.prompt("hello", system="Be brief.", attachments=[note])]
    answers[0].text()
    chain = talk.chain("time?", tools=[now])
    chain.text()
    for answer in (*answers, *chain._responses):
        typing.cast("Any", answer).log_to_db(db)
    db.close()
    return path


def test_a_conversation_of_llm(logs: Path) -> None:
    """System prompt, question, answer, call and result come in their order, attachments with their bytes."""
    [talk] = take_in(Store(":memory:"), logs)
    assert [role for role, *_ in shape(talk)] == [
        "system", "user", "assistant", "user", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert said(talk)[-1] == "You said: noon UTC"
    media = next(part for m in talk.messages() for part in m.parts if part.type == "media")
    assert talk.blob(media.content["sha256"]) == b"socks"
    call, result = (talk.log().messages[at].parts[-1].content for at in (4, 5))
    assert (call["call_id"], result["call_id"], result["content"]) == ("t1", "t1", "noon UTC")


def test_a_part_that_is_damaged_is_kept(logs: Path) -> None:
    """A call whose payload is no JSON stands in its place as it was, and is named."""
    db, findings = sqlite_utils.Database(logs), Findings()
    db.execute("""update parts set payload = '{"name": "no' where type = 'tool_call'""")
    db.conn.commit()
    db.close()
    [talk] = take_in(Store(":memory:"), logs, findings)
    assert shape(talk)[4] == ("assistant", "opaque")
    kept = [json.loads(field.data) for field in talk.hidden(talk.log().messages[4].id) if field.at]
    assert kept == [{"text": "", "payload": '{"name": "no'}]
    assert findings.unknown == {"part tool_call": 1}


def test_a_conversation_of_an_older_llm(logs: Path) -> None:
    """Before 0.36 an answer was a row with its question."""
    db = sqlite_utils.Database(logs)
    for table in (
        "turn_tools",
        "turn_fragments",
        "tool_instantiations",
        "turns",
        "threads",
        "parts",
        "messages",
    ):
        db.table(table).drop(ignore=True)
    insert(db, "conversations", {"id": "old", "name": "Trip", "model": "parrot"})
    row = {
        "id": "r1",
        "model": "parrot",
        "prompt": "Where?",
        "system": "Be brief.",
        "response": "To the sea.",
    }
    more = {
        "conversation_id": "old",
        "datetime_utc": "2025-01-01T10:00:00",
        "input_tokens": 4,
        "output_tokens": 2,
    }
    insert(db, "responses", row | more)
    insert(db, "tool_calls", {"response_id": "r1", "name": "now", "arguments": "{}", "tool_call_id": "t1"})
    db.close()
    talk = next(each for each in take_in(Store(":memory:"), logs) if each.title == "Trip")
    assert shape(talk) == [("system", "text"), ("user", "text"), ("assistant", "text", "tool_call")]
    assert talk.log().messages[-1].usage == {"input_tokens": 4, "output_tokens": 2}


ONE_TABLE = range(
    1, next(n for n, m in enumerate(MIGRATIONS) if m.__name__ == "m009_delete_logs_table_if_empty")
)


@pytest.mark.parametrize("steps", ONE_TABLE)
def test_a_database_from_before_there_were_conversations(tmp_path: Path, steps: int) -> None:
    """One table until 0.6, in each of its shapes: rows that name the first of their conversation."""
    db = sqlite_utils.Database(tmp_path / "logs.db")
    for migration in MIGRATIONS[:steps]:
        typing.cast("Any", migration)(db)
    [table] = db.table_names()
    times = {"timestamp", "timestamp_utc", "datetime_utc"} & set(db[table].columns_dict)
    row = dict.fromkeys(times, "2023-05-01T10:00:00") | {"system": "Be brief.", "model": "gpt-4"}
    insert(db, table, row | {"prompt": "Where?", "response": "To the sea.", "chat_id": None})
    insert(db, table, row | {"prompt": "When?", "response": "Now.", "chat_id": 1})
    insert(db, table, row | {"prompt": "Hello", "response": "Hi", "chat_id": None})
    db.close()
    found = take_in(Store(":memory:"), tmp_path / "logs.db")
    assert [said(talk) for talk in found] == [
        ["Be brief.", "Where?", "To the sea.", "When?", "Now."],
        ["Be brief.", "Hello", "Hi"],
    ]
    assert found[0].log().messages[2].model == "gpt-4"


def test_files_that_a_tool_returned_and_answers_of_no_conversation(logs: Path) -> None:
    """A picture behind a result, options and the provider's own words; an answer without a conversation."""
    db = sqlite_utils.Database(logs)
    for table in ("turn_tools", "turn_fragments", "turns", "threads", "parts", "messages"):
        db.table(table).drop(ignore=True)
    row = {"id": "r1", "model": "m", "prompt": "Look", "response": "Seen.", "options_json": '{"t": 1}'}
    insert(db, "responses", row | {"response_json": '{"raw": 2}', "datetime_utc": "2025-01-01T10:00:00"})
    insert(
        db, "tool_results", {"id": 99, "response_id": "r1", "name": "see", "output": "x", "tool_call_id": "t"}
    )
    insert(db, "attachments", {"id": "a", "type": "image/png", "content": b"png"})
    insert(db, "tool_results_attachments", {"tool_result_id": 99, "attachment_id": "a", "order": 0})
    db.close()
    talk = next(each for each in take_in(Store(":memory:"), logs) if said(each)[-1] == "Seen.")
    assert shape(talk) == [("tool", "tool_result", "media"), ("user", "text"), ("assistant", "text")]
    assert talk.blob(str(talk.log().messages[0].parts[1].content["sha256"])) == b"png"
    [kept] = talk.hidden(talk.log().messages[2].id)
    assert json.loads(kept.data) == {"options": {"t": 1}, "response": {"raw": 2}}


def test_another_database_is_refused(tmp_path: Path) -> None:
    """A database of something else is named as such."""
    db = sqlite_utils.Database(tmp_path / "other.db")
    insert(db, "things", {"id": 1})
    db.close()
    with pytest.raises(ImportRefused, match=r"other\.db is a database, but not one of llm's"):
        take_in(Store(":memory:"), tmp_path / "other.db")
