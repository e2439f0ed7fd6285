"""Gemini CLI's sessions: one JSON file each, with the thoughts and tool calls of an answer beside it."""

from __future__ import annotations

from typing import Any, Final

from syncd.interchange.formats.blocks import gemini_parts
from syncd.interchange.records import (
    Draft,
    Findings,
    Imported,
    Record,
    an_object,
    milliseconds,
    objects,
    words,
)

NAME: Final = "gemini-cli"

_ASIDE: Final = {"info", "error", "warning"}
_KEYS: Final = {
    "id",
    "timestamp",
    "type",
    "content",
    "displayContent",
    "toolCalls",
    "thoughts",
    "model",
    "tokens",
}


def matches(value: Any) -> bool:
    """Whether a value is a session of Gemini CLI's."""
    session = an_object(value)
    return "sessionId" in session and isinstance(session.get("messages"), list) and "startTime" in session


def read(value: Any, findings: Findings) -> Imported:
    """Read one session."""
    records: list[Record] = []
    for number, message in enumerate(objects(value["messages"])):
        if message.get("type") in _ASIDE:
            findings.leave_out(f"{message['type']} shown to the user")
            continue
        key = words(message.get("id")) or str(number)
        records += _records(message, key, records[-1].key if records else None, findings)
    key, started = words(value.get("sessionId")), milliseconds(value.get("startTime"))
    return Imported(
        NAME, key, words(value.get("summary")), records, records[-1].key if records else None, started
    )


def _records(message: dict[str, Any], key: str, parent: str | None, findings: Findings) -> list[Record]:
    draft = Draft(NAME, findings)
    created = milliseconds(message.get("timestamp"))
    if message.get("type") == "user":
        gemini_parts(draft, message.get("content"))
        draft.keep_keys("message", message, _KEYS)
        return [draft.record(key, parent, "user", created=created)]
    if message.get("type") != "gemini":
        findings.note_unknown(f"type {message.get('type')!r}")
    for thought in objects(message.get("thoughts")):
        subject, said = words(thought.get("subject")), words(thought.get("description"))
        draft.text(f"**{subject}**\n\n{said}" if subject else said, "reasoning")
    gemini_parts(draft, message.get("content"))
    calls, results = objects(message.get("toolCalls")), Draft(NAME, findings)
    for call in calls:
        draft.call(call.get("id"), call.get("name"), call.get("args"))
        _result(results, call)
    draft.keep_keys("message", message, _KEYS)
    tokens = an_object(message.get("tokens"))
    answer = draft.record(
        key,
        parent,
        "assistant",
        created=created,
        model=words(message.get("model")) or None,
        usage=_usage(tokens) if tokens else None,
    )
    if results.is_empty:
        return [answer]
    return [answer, results.record(f"{key}#results", key, "tool", created=created)]


def _result(results: Draft, call: dict[str, Any]) -> None:
    if "result" not in call:
        return
    is_error = call.get("status") in {"error", "cancelled"}
    responses = [an_object(part.get("functionResponse")) for part in objects(call["result"])]
    said = [an_object(response.get("response")) for response in responses if response]
    texts = [answer.get("output", answer.get("error")) for answer in said]
    if len(texts) == 1 and isinstance(texts[0], str):
        results.result(call.get("id"), texts[0], is_error=is_error)
    else:
        results.result(call.get("id"), call["result"], is_error=is_error)


def _usage(tokens: dict[str, Any]) -> dict[str, Any]:
    names = {
        "input": "input_tokens",
        "output": "output_tokens",
        "cached": "cached_tokens",
        "thoughts": "reasoning_tokens",
    }
    return {name: tokens[key] for key, name in names.items() if isinstance(tokens.get(key), int)}
