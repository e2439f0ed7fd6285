"""LibreChat's export: one conversation, its messages nested (``messagesTree``) or in a list with parents."""

from __future__ import annotations

from typing import Any, Final

from syncd.interchange.formats.chat_json import add_url
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

NAME: Final = "librechat"

_ROOT: Final = "00000000-0000-0000-0000-000000000000"
_KEYS: Final = {
    "_id", "__v", "messageId", "conversationId", "createdAt", "updatedAt", "endpoint", "error",
    "isCreatedByUser", "isEdited", "model", "parentMessageId", "sender", "text", "content", "unfinished",
    "user", "children", "depth", "siblingIndex", "tokenCount", "finish_reason", "files", "attachments",
    "iconURL", "clientId", "feedback", "thread_id", "spec", "addedConvo", "expiredAt", "metadata", "title",
    "isTemporary",
}  # fmt: skip
_OUTER: Final = {"conversationId", "title", "messages", "messagesTree", "exportAt", "branches", "recursive"}
_FILE: Final = {
    "file_id", "filepath", "filename", "type", "bytes", "object", "user", "embedded", "usage", "source",
    "height", "width", "context", "preview", "progress", "_id", "__v", "createdAt", "updatedAt",
    "temp_file_id", "messageId", "toolCallId", "conversationId", "expiresAt",
}  # fmt: skip


def matches(value: Any) -> bool:
    """Whether a value is a conversation of LibreChat's."""
    messages = _messages(value)
    return "conversationId" in an_object(value) and bool(messages) and "messageId" in messages[0]


def _messages(value: Any) -> list[dict[str, Any]]:
    return objects(an_object(value).get("messagesTree")) or objects(an_object(value).get("messages"))


def read(value: Any, findings: Findings) -> Imported:
    """Read one conversation."""
    nodes: list[dict[str, Any]] = []
    waiting = list(reversed(_messages(value)))
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += reversed(objects(node.get("children")))
    records = [record for node in nodes for record in _records(node, findings)]
    key, title = words(value.get("conversationId")), words(value.get("title"))
    imported = Imported(NAME, key, title, records, records[-1].key if records else None)
    keep_outer(imported, value, _OUTER)
    return imported


def _records(node: dict[str, Any], findings: Findings) -> list[Record]:
    is_user = node.get("isCreatedByUser") is True
    key, parent = words(node.get("messageId")), words(node.get("parentMessageId"))
    drafts: list[tuple[str, Draft]] = [("user" if is_user else "assistant", Draft(NAME, findings))]
    for block in objects(node.get("content")):
        _block(drafts, block, findings)
    if not any(part.type == "text" for _, draft in drafts for part in draft.parts):
        drafts[0][1].text(node.get("text"))
    for file in (*objects(node.get("files")), *objects(node.get("attachments"))):
        _file(drafts[-1][1], file)
    drafts[-1][1].keep_keys("message", node, _KEYS)
    status = (
        "failed"
        if node.get("error") is True
        else "interrupted"
        if node.get("unfinished") is True
        else "complete"
    )
    found: list[Record] = []
    above = None if parent in {"", _ROOT} else parent
    for number, (role, draft) in enumerate(drafts):
        name = key if number == len(drafts) - 1 else f"{key}#{number}"
        record = draft.record(
            name,
            above,
            role,
            created=milliseconds(node.get("createdAt")),
            name=words(node.get("sender")),
            model=None if is_user else words(node.get("model")) or None,
            stop_reason=words(node.get("finish_reason")) or None,
            status=status,
        )
        found.append(record)
        above = name
    return found


def _block(drafts: list[tuple[str, Draft]], block: dict[str, Any], findings: Findings) -> None:
    """Add a block; the result of a tool stands in a message of its own, and what follows in another."""
    if drafts[-1][0] == "tool" and block.get("type") != "tool_call":
        drafts.append(("assistant", Draft(NAME, findings)))
    draft = drafts[-1][1]
    match block.get("type"):
        case "text":
            text = block.get("text")
            draft.text(an_object(text).get("value") if isinstance(text, dict) else text)
        case "think":
            draft.text(block.get("think"), "reasoning")
        case "tool_call":
            _tool_call(drafts, an_object(block.get("tool_call")), findings)
        case "image_file" if isinstance(block.get("image_file"), dict):
            _file(draft, block["image_file"])
        case "image_url":
            url = block.get("image_url")
            add_url(draft, words(an_object(url).get("url")) or words(url))
        case "error":
            draft.text(block.get("error") or block.get("text"))
        case kind:
            draft.keep(words(kind) or "block", block)


def _file(draft: Draft, file: dict[str, Any]) -> None:
    """Add a file; what is none (results of a search, say) is kept."""
    reference = words(file.get("filepath")) or words(file.get("file_id")) or words(file.get("filename"))
    if not reference:
        draft.keep(words(file.get("type")) or "attachment", file)
        return
    mime, name = words(file.get("type")), words(file.get("filename"))
    at = draft.missing_media(reference, mime=mime, size=file.get("bytes"), name=name)
    draft.keep_rest(file, _FILE, "media", at)


def _tool_call(drafts: list[tuple[str, Draft]], call: dict[str, Any], findings: Findings) -> None:
    function = an_object(call.get("function"))
    name, arguments = call.get("name") or function.get("name"), call.get("args") or function.get("arguments")
    if drafts[-1][0] == "tool":
        drafts.append(("assistant", Draft(NAME, findings)))
    drafts[-1][1].call(call.get("id"), name, arguments)
    output = call.get("output") if "output" in call else function.get("output")
    if output is not None:
        result = Draft(NAME, findings)
        result.result(call.get("id"), output)
        drafts.append(("tool", result))
