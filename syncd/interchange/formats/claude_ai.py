"""Claude.ai's export: ``conversations.json``, messages with blocks, since 2025 with parents."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from syncd.interchange.records import (
    Draft,
    Findings,
    Imported,
    Record,
    an_object,
    keep_outer,
    milliseconds,
    objects,
    words,
)

NAME: Final = "claude-ai"

_ROLES: Final = {"human": "user", "assistant": "assistant"}
_ROOT: Final = "00000000-0000-4000-8000-000000000000"
_KEYS: Final = {
    "uuid", "index", "sender", "text", "content", "created_at", "updated_at", "truncated", "attachments",
    "files", "files_v2", "sync_sources", "parent_message_uuid", "stop_reason", "feedback", "chat_feedback",
    "input_mode",
}  # fmt: skip
_OUTER: Final = {
    "uuid", "name", "created_at", "updated_at", "chat_messages", "account", "current_leaf_message_uuid",
    "conversation_id", "title", "is_starred", "is_temporary", "model",
}  # fmt: skip
_FILE: Final = {
    "file_uuid", "file_name", "size_bytes", "file_kind", "created_at", "thumbnail_url", "preview_url",
    "thumbnail_asset", "preview_asset", "document_asset", "path", "success",
}  # fmt: skip
_TIMES: Final = {"start_timestamp", "stop_timestamp", "flags"}
_TEXT: Final = {"type", "text", "citations", *_TIMES}
_THINKING: Final = {
    "type",
    "thinking",
    "signature",
    "summaries",
    "cut_off",
    "truncated",
    "alternative_display_type",
    *_TIMES,
}
_CALL: Final = {
    "type", "id", "name", "input", "message", "integration_name", "integration_icon_url", "display_content",
    "context", "approval_options", "approval_key", "is_mcp_app", "mcp_server_url", "icon_name", *_TIMES,
}  # fmt: skip
_RESULT: Final = {*_CALL, "tool_use_id", "content", "is_error", "structured_content", "meta"}


def matches(value: Any) -> bool:
    """Whether a value is a conversation of Claude.ai's."""
    return isinstance(an_object(value).get("chat_messages"), list)


def read(value: Any, findings: Findings) -> Imported:
    """Read one conversation."""
    records: list[Record] = []
    keys = {words(message.get("uuid")) for message in objects(value["chat_messages"])}
    before: str | None = None
    for message in objects(value["chat_messages"]):
        parent = message.get("parent_message_uuid")
        known = parent if isinstance(parent, str) and parent in keys else None
        key = words(message.get("uuid")) or f"message-{len(records)}"
        records += _records(message, key, known if "parent_message_uuid" in message else before, findings)
        before = records[-1].key if records else None
    model = words(value.get("model")) or None
    imported = Imported(
        NAME,
        words(value.get("uuid")) or words(value.get("conversation_id")),
        words(value.get("name")) or words(value.get("title")),
        [replace(record, model=model) if record.role == "assistant" else record for record in records],
        words(value.get("current_leaf_message_uuid")) or None,
        milliseconds(value.get("created_at")),
    )
    keep_outer(imported, value, _OUTER)
    return imported


def _records(message: dict[str, Any], key: str, parent: str | None, findings: Findings) -> list[Record]:
    """Return a message; results of tools stand in a message of their own, and what follows in another."""
    role = _ROLES.get(words(message.get("sender")))
    if role is None:
        findings.note_unknown(f"sender {message.get('sender')!r}")
    created = milliseconds(message.get("created_at"))
    reason = words(message.get("stop_reason")) or None
    drafts = _drafts(message, role or "user", findings)
    drafts = [each for each in drafts[:-1] if not each[1].is_empty] + drafts[-1:]
    found: list[Record] = []
    for number, (draft_role, draft) in enumerate(drafts):
        # The last has the name by which children know it.
        name = key if number == len(drafts) - 1 else f"{key}#{number}"
        found.append(draft.record(name, parent, draft_role, created=created, stop_reason=reason))
        parent = name
    return found


def _drafts(message: dict[str, Any], role: str, findings: Findings) -> list[tuple[str, Draft]]:
    blocks = message.get("content")
    drafts = [(role, Draft(NAME, findings))]
    for file in objects(message.get("attachments")):
        _attachment(drafts[0][1], file)
    # Both lists name the same files.
    files = (*objects(message.get("files")), *objects(message.get("files_v2")))
    named = {words(file.get("file_uuid")) or words(file.get("file_name")): file for file in files}
    for reference, file in named.items():
        _file(drafts[0][1], reference, file)
    if isinstance(blocks, list):
        for block in blocks:
            _block(drafts, block, role, findings)
    elif blocks is not None:
        drafts[-1][1].keep("content", blocks)
    if not any(part.type == "text" for _, draft in drafts for part in draft.parts):
        drafts[0][1].text(message.get("text"))
    drafts[-1][1].keep_keys("message", message, _KEYS)
    return drafts


def _block(drafts: list[tuple[str, Draft]], block: Any, role: str, findings: Findings) -> None:
    kind = words(an_object(block).get("type"))
    wanted = "tool" if kind == "tool_result" and role == "assistant" else role
    if drafts[-1][0] != wanted:
        drafts.append((wanted, Draft(NAME, findings)))
    draft = drafts[-1][1]
    match kind:
        case "text" if isinstance(block.get("text"), str):
            draft.text(block["text"])
            if block.get("citations"):
                draft.seal(NAME, "citations", json.dumps(block["citations"]))
            draft.keep_keys("text", block, _TEXT)
        case "voice_note" if isinstance(block.get("transcript"), str):
            draft.text(block["transcript"])
            draft.keep_keys("voice_note", block, {"type", "transcript", "title", *_TIMES})
        case "thinking" if isinstance(block.get("thinking"), str):
            draft.add("reasoning", text=block["thinking"])
            if isinstance(block.get("signature"), str) and block["signature"]:
                draft.seal("anthropic", "signature", block["signature"])
            draft.keep_keys("thinking", block, _THINKING)
        case "tool_use":
            draft.call(block.get("id") or block.get("name"), block.get("name"), block.get("input"))
            draft.keep_keys("tool_use", block, _CALL)
        case "tool_result":
            call = block.get("tool_use_id") or block.get("name")
            draft.result(call, _said(block.get("content")), is_error=block.get("is_error") is True)
            draft.keep_keys("tool_result", block, _RESULT)
        case "token_budget":
            findings.leave_out("token_budget")
        case _:
            draft.keep(kind or "block", block)


def _said(content: Any) -> Any:
    """Return what a tool said, as text where it is nothing but text."""
    blocks = objects(content)
    is_text = isinstance(content, list) and len(blocks) == len(content)
    texts = [block.get("text") for block in blocks if set(block) <= {"type", "text", "uuid"}]
    if is_text and len(texts) == len(blocks):
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if content is not None else ""


def _file(draft: Draft, reference: str, file: dict[str, Any]) -> None:
    mime = "image/*" if file.get("file_kind") == "image" else ""
    name = words(file.get("file_name"))
    at = draft.missing_media(reference, mime=mime, name=name, size=file.get("size_bytes"))
    draft.keep_rest(file, _FILE, "media", at)


def _attachment(draft: Draft, file: dict[str, Any]) -> None:
    """Add a file; of a text, Claude.ai keeps what it says."""
    name, mime = words(file.get("file_name")), words(file.get("file_type"))
    said = file.get("extracted_content")
    if isinstance(said, str) and said:
        draft.media(words(said).encode(), mime if mime.startswith("text/") else "text/plain", name)
    else:
        draft.missing_media(name, name=name, size=file.get("file_size"))
