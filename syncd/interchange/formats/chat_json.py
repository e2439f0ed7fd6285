"""Chat-completions messages, as people fine-tune with: ``{"messages": […]}``, or the list alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Final

from syncd.interchange.records import (
    Draft,
    Findings,
    Imported,
    Record,
    an_object,
    compact,
    milliseconds,
    objects,
    words,
)

NAME: Final = "chat"

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_KEYS: Final = {
    "role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal",
    "reasoning_content", "reasoning", "weight", "id", "created", "created_at", "timestamp", "model",
    "reasoning_details", "annotations", "audio",
}  # fmt: skip


def matches(value: Any) -> bool:
    """Whether a value is a list of chat messages, or an object that holds one."""
    messages = _messages(value)
    return bool(messages) and all("role" in message for message in messages)


def _messages(value: Any) -> list[dict[str, Any]]:
    return objects(value if isinstance(value, list) else an_object(value).get("messages"))


def read(value: Any, findings: Findings) -> Imported:
    """Read one conversation."""
    messages, outer = _messages(value), an_object(value)
    records: list[Record] = []
    if outer.get("tools"):
        draft = Draft(NAME, findings)
        draft.add("tools", definitions=compact([_tool(tool) for tool in objects(outer["tools"])]))
        records.append(draft.record("tools", None, "system"))
    for number, message in enumerate(messages):
        records.append(_record(message, str(number), records[-1].key if records else None, findings))
    key = words(outer.get("id")) or hashlib.sha256(compact(messages).encode()).hexdigest()
    created = milliseconds(outer.get("created") or outer.get("created_at"))
    return Imported(NAME, key, words(outer.get("title")), records, records[-1].key, created)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = an_object(tool.get("function"))
    if not function:
        return {"name": words(tool.get("name")) or words(tool.get("type")), "native": {"openai": tool}}
    return {key: function[key] for key in ("name", "description", "parameters", "strict") if key in function}


def _record(message: dict[str, Any], key: str, parent: str | None, findings: Findings) -> Record:
    draft = Draft(NAME, findings)
    role = _ROLES.get(words(message.get("role")))
    if role is None:
        findings.note_unknown(f"role {message.get('role')!r}")
    draft.text(message.get("reasoning_content") or message.get("reasoning"), "reasoning")
    if role == "tool":
        content = message.get("content")
        draft.result(
            message.get("tool_call_id") or message.get("name"), content if content is not None else ""
        )
    else:
        _content(draft, message.get("content"))
        if isinstance(message.get("refusal"), str) and message["refusal"]:
            draft.add("text", text=message["refusal"], refusal=True)
    for call in objects(message.get("tool_calls")):
        function = an_object(call.get("function"))
        draft.call(call.get("id"), function.get("name"), function.get("arguments"))
    if isinstance(message.get("function_call"), dict):
        call = message["function_call"]
        draft.call(call.get("name"), call.get("name"), call.get("arguments"))
    draft.keep_keys("message", message, _KEYS)
    time = message.get("created") or message.get("created_at") or message.get("timestamp")
    model = words(message.get("model")) or None if role == "assistant" else None
    return draft.record(
        key, parent, role or "user", created=milliseconds(time), name=words(message.get("name")), model=model
    )


def _content(draft: Draft, content: Any) -> None:
    if not isinstance(content, list):
        draft.text(content)
        return
    for block in content:
        if isinstance(block, str):
            draft.text(block)
            continue
        match an_object(block).get("type"):
            case "text" | "input_text" | "output_text":
                draft.text(block.get("text"))
            case "image_url":
                url = block.get("image_url")
                add_url(draft, words(url.get("url")) if isinstance(url, dict) else words(url))
            case kind:
                draft.keep(words(kind) or "block", block)


def add_url(draft: Draft, url: str, name: str = "") -> None:
    """Add a picture or file by its URL; of a ``data:`` URL, its bytes."""
    head, comma, body = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        try:
            draft.media(base64.b64decode(body, validate=True), head[5:-7] or "application/octet-stream", name)
        except binascii.Error:
            draft.keep("data URL", url)
    else:
        draft.missing_media(url, mime="image/*", name=name)
