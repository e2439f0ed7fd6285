"""
Gemini CLI's sessions: one JSON file each, with the thoughts and tool calls of an answer beside it.

Also its checkpoints (``/chat save``), which are the contents as the API has them. What is written
line by line since 0.40 is in ``gemini_cli_lines``.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from syncd.interchange.formats.blocks import gemini_parts, gemini_result
from syncd.interchange.records import (
    Draft,
    Findings,
    Imported,
    Record,
    an_object,
    compact,
    keep_outer,
    milliseconds,
    objects,
    words,
)

NAME: Final = "gemini-cli"

_ASIDE: Final = {"info", "error", "warning"}
_ROLES: Final = {"user": "user", "model": "assistant"}
_KEYS: Final = {
    "id", "timestamp", "type", "content", "displayContent", "toolCalls", "thoughts", "model", "tokens",
}  # fmt: skip
_CALL: Final = {
    "id", "name", "args", "result", "status", "timestamp", "displayName", "description", "resultDisplay",
    "renderOutputAsMarkdown", "agentId",
}  # fmt: skip
_OUTER: Final = {
    "sessionId", "messages", "startTime", "lastUpdated", "projectHash", "summary", "kind", "directories",
    "activeExtensionName",
}  # fmt: skip


def matches(value: Any) -> bool:
    """Whether a value is a session of Gemini CLI's, or a checkpoint."""
    session = an_object(value)
    is_session = "sessionId" in session and isinstance(session.get("messages"), list)
    return (is_session and "startTime" in session) or bool(_history(value))


def _history(value: Any) -> list[dict[str, Any]]:
    """Return the contents of a checkpoint."""
    contents = objects(an_object(value).get("history") if isinstance(value, dict) else value)
    is_one = all(isinstance(content.get("parts"), list) and "role" in content for content in contents)
    return contents if is_one else []


def read(value: Any, findings: Findings) -> Imported:
    """Read one session."""
    contents = _history(value)
    if contents:
        return _checkpoint(contents, findings)
    key, started = words(value.get("sessionId")), milliseconds(value.get("startTime"))
    imported = Imported(NAME, key, words(value.get("summary")), fallback=started)
    add_messages(imported, objects(value["messages"]), None, findings)
    keep_outer(imported, value, _OUTER)
    return imported


def add_messages(
    imported: Imported, messages: list[dict[str, Any]], parent: str | None, findings: Findings
) -> str | None:
    """Add messages one after another; returns the last."""
    for number, message in enumerate(messages):
        if words(message.get("type")) in _ASIDE:
            findings.leave_out(f"{message['type']} shown to the user")
            continue
        key = words(message.get("id")) or str(number)
        imported.records += _records(message, key, parent, findings)
        parent = imported.records[-1].key
    imported.current = parent
    return parent


def _checkpoint(contents: list[dict[str, Any]], findings: Findings) -> Imported:
    records: list[Record] = []
    for number, content in enumerate(contents):
        draft, role = Draft(NAME, findings), _ROLES.get(words(content.get("role")))
        if role is None:
            findings.note_unknown(f"role {content.get('role')!r}")
        gemini_parts(draft, content["parts"])
        draft.keep_keys("content", content, {"role", "parts"})
        is_answer = bool(draft.parts) and all(part.type == "tool_result" for part in draft.parts)
        parent = records[-1].key if records else None
        records.append(draft.record(str(number), parent, "tool" if is_answer else role or "user"))
    # It has no id, and grows: the beginning is its name.
    key = hashlib.sha256(compact(contents[:3]).encode()).hexdigest()
    return Imported(NAME, key, "", records, records[-1].key)


def _records(message: dict[str, Any], key: str, parent: str | None, findings: Findings) -> list[Record]:
    draft = Draft(NAME, findings)
    created = milliseconds(message.get("timestamp"))
    if message.get("type") == "user":
        gemini_parts(draft, message.get("content"))
        draft.keep_keys("message", message, _KEYS)
        return [draft.record(key, parent, "user", created=created)]
    if words(message.get("type")) not in {"gemini", "model"}:
        findings.note_unknown(f"type {message.get('type')!r}")
    for thought in objects(message.get("thoughts")):
        subject, said = words(thought.get("subject")), words(thought.get("description"))
        draft.text(f"**{subject}**\n\n{said}" if subject else said, "reasoning")
    gemini_parts(draft, message.get("content"))
    results = Draft(NAME, findings)
    for call in objects(message.get("toolCalls")):
        at = draft.call(call.get("id"), call.get("name"), call.get("args"))
        draft.keep_rest(call, _CALL, "toolCall", at)
        if "result" in call:
            is_error = words(call.get("status")) in {"error", "cancelled"}
            gemini_result(results, call.get("id"), call["result"], is_error=is_error)
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


def _usage(tokens: dict[str, Any]) -> dict[str, Any]:
    names = {
        "input": "input_tokens",
        "output": "output_tokens",
        "cached": "cached_tokens",
        "thoughts": "reasoning_tokens",
    }
    return {name: tokens[key] for key, name in names.items() if isinstance(tokens.get(key), int)}
