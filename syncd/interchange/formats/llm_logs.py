"""
``logs.db`` of the command-line tool ``llm``: since 0.36 a tree of messages, before that a list of responses.

A file that has been upgraded holds both; a conversation stands in one of them. Until 0.6 there was
one table, ``log`` and then ``logs``, whose rows name the first of their conversation.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import sqlite_utils

from syncd.interchange.records import (
    Draft,
    Findings,
    Imported,
    ImportRefused,
    Record,
    an_object,
    milliseconds,
    objects,
    parsed,
    words,
)

NAME: Final = "llm"

_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
_TREE: Final = {"messages", "parts", "threads", "turns"}


def read(path: Path, findings: Findings) -> Iterator[Imported]:
    """
    Read the conversations of a database.

    Raises:
        ImportRefused: It is no database of ``llm``, or damaged.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            db = sqlite_utils.Database(connection)
            tables = set(db.table_names())
            table = next((name for name in _FIRST_ROWS if name in tables), None)
            if table is not None and "response" in db[table].columns_dict:
                yield from _first_rows(db, table, findings)
            elif not {"conversations", "responses"} <= tables:
                raise ImportRefused(
                    f"{path.name} is a database, but not one of llm's: no table 'responses' is in it"
                )
            if not {"conversations", "responses"} <= tables:
                return
            told: set[str] = set()
            for imported in _threads(db, findings) if tables >= _TREE else ():
                told.add(imported.key)
                yield imported
            yield from _conversations(db, findings, told)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise ImportRefused(f"{path.name} can't be read: {error}") from error
    except LookupError as error:
        raise ImportRefused(f"{path.name} has no column {error} where llm has one") from error


# Since 0.36: messages in a tree, and threads that end somewhere in it.


def _threads(db: sqlite_utils.Database, findings: Findings) -> Iterator[Imported]:
    for thread in db.query("select * from threads order by datetime_utc, id"):
        rows = list(db.query(_CHAIN, {"tip": thread["tip_message_hash"]}))
        turns = {turn["tip_message_hash"]: turn for turn in db.query(_TURNS, {"thread": thread["id"]})}
        records = [_tree_record(db, row, turns.get(row["hash"]), findings) for row in reversed(rows)]
        tip, started = thread["tip_message_hash"], milliseconds(thread["datetime_utc"])
        yield Imported(NAME, thread["id"], words(thread["name"]), records, tip, started)


_CHAIN: Final = """
    with recursive chain as (
        select hash, parent_hash, role, provider_metadata, 0 as depth from messages where hash = :tip
        union all
        select m.hash, m.parent_hash, m.role, m.provider_metadata, depth + 1
        from messages m join chain on m.hash = chain.parent_hash
    ) select * from chain order by depth
"""
_TURNS: Final = "select * from turns where thread_id = :thread"
_PARTS: Final = "select * from parts where message_hash = :hash order by position"


def _tree_record(
    db: sqlite_utils.Database, row: dict[str, Any], turn: dict[str, Any] | None, findings: Findings
) -> Record:
    draft = Draft(NAME, findings)
    for part in db.query(_PARTS, {"hash": row["hash"]}):
        _tree_part(db, draft, part)
    if row["provider_metadata"]:
        draft.seal(NAME, "provider_metadata", row["provider_metadata"], at=None)
    if turn is not None and row["role"] == "assistant":
        _keep_rest(db, draft, turn)
    role = _ROLES.get(row["role"])
    if role is None:
        findings.note_unknown(f"role {row['role']!r}")
    answered = turn if turn is not None and role == "assistant" else {}
    return draft.record(
        row["hash"],
        row["parent_hash"],
        role or "user",
        created=milliseconds(answered.get("datetime_utc")),
        model=answered.get("resolved_model") or answered.get("model"),
        usage=_usage(answered),
    )


def _tree_part(db: sqlite_utils.Database, draft: Draft, row: dict[str, Any]) -> None:
    told = parsed(row["payload"])
    payload = an_object(told)
    match row["type"]:
        case kind if row["payload"] and not isinstance(told, dict):
            draft.keep(f"part {kind}", {"text": words(row["text"]), "payload": words(row["payload"])})
        case "text":
            draft.text(_text(db, row, payload))
        case "reasoning":
            draft.add("reasoning", text=_text(db, row, payload))
        case "tool_call":
            draft.call(payload.get("tool_call_id"), payload.get("name"), payload.get("arguments"))
        case "tool_result":
            is_error = payload.get("exception") is not None
            draft.result(payload.get("tool_call_id"), payload.get("output") or "", is_error=is_error)
            for file in objects(payload.get("attachments")):
                _attachment(db, draft, file.get("id"))
        case "attachment":
            _attachment(db, draft, an_object(payload.get("attachment")).get("id"))
        case kind:
            draft.keep(f"part {kind}", {"text": row["text"], "payload": payload})
    if payload.get("provider_metadata"):
        draft.seal(NAME, "provider_metadata", json.dumps(payload["provider_metadata"]))


def _text(db: sqlite_utils.Database, row: dict[str, Any], payload: dict[str, Any]) -> str:
    """Return a text; pieces of it may stand elsewhere."""
    if row["text"] is not None:
        return words(row["text"])
    pieces = objects(payload.get("text_ref"))
    return "".join(
        piece["literal"] if "literal" in piece else _fragment(db, piece.get("fragment")) for piece in pieces
    ) or words(payload.get("text"))


def _fragment(db: sqlite_utils.Database, fragment_id: Any) -> str:
    found = next(db.query("select content from fragments where id = ?", [fragment_id]), None)
    return words(found["content"]) if found else ""


# Before: a row for each question with its answer.


def _conversations(db: sqlite_utils.Database, findings: Findings, told: set[str]) -> Iterator[Imported]:
    for row in [*db.query("select * from conversations order by id"), *db.query(_ORPHANS)]:
        responses = list(db.query(_RESPONSES, {"conversation": row["id"]})) if row["id"] not in told else []
        records: list[Record] = []
        for response in responses:
            for name, role, draft in _turn(db, response, records, findings):
                if draft.is_empty:
                    continue
                is_answer = role == "assistant"
                record = draft.record(
                    f"{response['id']}#{name}",
                    records[-1].key if records else None,
                    role,
                    created=milliseconds(response["datetime_utc"]),
                    model=(response.get("resolved_model") or response["model"]) if is_answer else None,
                    usage=_usage(response) if is_answer else None,
                )
                records.append(record)
        if records:
            yield Imported(NAME, row["id"] or records[0].key, words(row["name"]), records, records[-1].key)


_RESPONSES: Final = "select * from responses where conversation_id is :conversation order by datetime_utc, id"
_ORPHANS: Final = """
    select distinct conversation_id as id, null as name from responses
    where conversation_id is null or conversation_id not in (select id from conversations)
"""
_RESULTS: Final = "select * from tool_results where response_id = :id order by id"
_CALLS: Final = "select * from tool_calls where response_id = :id order by id"


def _turn(
    db: sqlite_utils.Database, response: dict[str, Any], before: list[Record], findings: Findings
) -> list[tuple[str, str, Draft]]:
    """Return the system prompt where it is another one, results of tools, the question, and the answer."""
    system, results, question, answer = (Draft(NAME, findings) for _ in range(4))
    prompt = _joined(db, "system_fragments", response, response["system"])
    in_force = [part.text for record in before if record.role == "system" for part in record.parts]
    if prompt != (in_force[-1] if in_force else ""):
        system.text(prompt)
    for result in _rows(db, "tool_results", _RESULTS, response):
        is_error = result.get("exception") is not None
        results.result(result["tool_call_id"], result["output"] or "", is_error=is_error)
        for file in _rows(db, "tool_results_attachments", _RETURNED, result):
            _attachment(db, results, file["attachment_id"])
    question.text(_joined(db, "prompt_fragments", response, response["prompt"]))
    for file in _rows(db, "prompt_attachments", _ATTACHED, response):
        _attachment(db, question, file["attachment_id"])
    answer.text(response.get("reasoning"), "reasoning")
    answer.text(response["response"])
    for call in _rows(db, "tool_calls", _CALLS, response):
        answer.call(call["tool_call_id"], call["name"], call["arguments"])
    _keep_rest(db, answer, response)
    return [
        ("system", "system", system),
        ("results", "tool", results),
        ("question", "user", question),
        ("answer", "assistant", answer),
    ]


_FRAGMENTS: Final = {
    "prompt_fragments": 'select * from prompt_fragments where response_id = :id order by "order"',
    "system_fragments": 'select * from system_fragments where response_id = :id order by "order"',
}
_RETURNED: Final = 'select * from tool_results_attachments where tool_result_id = :id order by "order"'
_ATTACHED: Final = 'select * from prompt_attachments where response_id = :id order by "order"'


def _joined(db: sqlite_utils.Database, table: str, response: dict[str, Any], text: Any) -> str:
    """Return a prompt with the fragments that stand in front of it."""
    rows = _rows(db, table, _FRAGMENTS[table], response)
    return "\n".join(filter(None, (*(_fragment(db, row["fragment_id"]) for row in rows), words(text))))


def _rows(db: sqlite_utils.Database, table: str, sql: str, response: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows of a table that older files may not have."""
    return list(db.query(sql, {"id": response["id"]})) if table in db.table_names() else []


# Both


def _attachment(db: sqlite_utils.Database, draft: Draft, attachment_id: Any) -> None:
    found = next(db.query("select * from attachments where id = ?", [attachment_id]), None)
    if found is not None and isinstance(found["content"], bytes):
        draft.media(found["content"], words(found["type"]) or "application/octet-stream")
    elif found is not None:
        draft.missing_media(words(found["path"]) or words(found["url"]), mime=words(found["type"]))


def _usage(row: dict[str, Any]) -> dict[str, Any] | None:
    counts = {key: row.get(key) for key in ("input_tokens", "output_tokens")}
    return {key: count for key, count in counts.items() if isinstance(count, int)} or None


def _keep_rest(db: sqlite_utils.Database, draft: Draft, row: dict[str, Any]) -> None:
    """Keep how an answer was asked for, and what the provider said as it said it."""
    schema = next(_rows_of_schema(db, row), {})
    rest = {name: parsed(row.get(f"{name}_json")) for name in ("options", "response")}
    rest |= {"schema": parsed(schema.get("content")), "token_details": parsed(row.get("token_details"))}
    if not draft.is_empty:
        draft.keep_rest(rest, (), "response")


def _rows_of_schema(db: sqlite_utils.Database, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if row.get("schema_id") is not None and "schemas" in db.table_names():
        yield from db.query("select content from schemas where id = ?", [row["schema_id"]])


# Until 0.6: one table.


_FIRST_ROWS: Final = {
    "logs": "select rowid as row_id, * from logs order by rowid",
    "log": "select rowid as row_id, * from log order by rowid",
}


def _first_rows(db: sqlite_utils.Database, table: str, findings: Findings) -> Iterator[Imported]:
    talks: dict[str, list[dict[str, Any]]] = {}
    for row in db.query(_FIRST_ROWS[table]):
        # The column was a text at first.
        talks.setdefault(str(row.get("chat_id") or row["row_id"]), []).append(row)
    for talk in talks.values():
        records: list[Record] = []
        system = ""
        for row in talk:
            said = [("user", row["prompt"], None), ("assistant", row["response"], row["model"])]
            if row["system"] and row["system"] != system:
                system = row["system"]
                said.insert(0, ("system", system, None))
            time = row.get("datetime_utc") or row.get("timestamp_utc") or row.get("timestamp")
            for role, text, model in said:
                draft = Draft(NAME, findings)
                draft.text(text)
                if role == "assistant":
                    _keep_rest(db, draft, row)
                parent = records[-1].key if records else None
                key, created = f"{row['row_id']}#{role}", milliseconds(time)
                records.append(draft.record(key, parent, role, created=created, model=model))
        # Rows are counted from one in every file: the time of the first makes a name of its number.
        yield Imported(NAME, f"{records[0].created}/{talk[0]['row_id']}", "", records, records[-1].key)
