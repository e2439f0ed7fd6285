"""LibreChat's export: one conversation, its messages nested in ``children`` or in a list with parents."""

from __future__ import annotations

from typing import Any, Final

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

NAME: Final = "librechat"

_ROOT: Final = "00000000-0000-0000-0000-000000000000"
_KEYS: Final = {
    "_id", "__v", "messageId", "conversationId", "createdAt", "updatedAt", "endpoint", "error",
    "isCreatedByUser", "isEdited", "model", "parentMessageId", "sender", "text", "content", "unfinished",
    "user", "children", "depth", "siblingIndex", "tokenCount", "finish_reason", "files", "attachments",
    "iconURL", "clientId", "feedback",
}  # fmt: skip


def matches(value: Any) -> bool:
    """Whether a value is a conversation of LibreChat's."""
    messages = objects(an_object(value).get("messages"))
    return "conversationId" in an_object(value) and bool(messages) and "messageId" in messages[0]


def read(value: Any, findings: Findings) -> Imported:
    """Read one conversation."""
    nodes: list[dict[str, Any]] = []
    waiting = list(reversed(objects(value["messages"])))
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += reversed(objects(node.get("children")))
    records = [record for node in nodes for record in _records(node, findings)]
    key, title = words(value.get("conversationId")), words(value.get("title"))
    return Imported(NAME, key, title, records, records[-1].key if records else None)


def _records(node: dict[str, Any], findings: Findings) -> list[Record]:
    is_user = node.get("isCreatedByUser") is True
    key, parent = words(node.get("messageId")), words(node.get("parentMessageId"))
    drafts: list[tuple[str, Draft]] = [("user" if is_user else "assistant", Draft(NAME, findings))]
    blocks = objects(node.get("content"))
    for block in blocks:
        _block(drafts, block, findings)
    if not blocks:
        drafts[0][1].text(node.get("text"))
    for file in (*objects(node.get("files")), *objects(node.get("attachments"))):
        name = words(file.get("filename"))
        reference = words(file.get("file_id")) or words(file.get("filepath")) or name
        mime = words(file.get("type"))
        drafts[-1][1].missing_media(reference, mime=mime, size=file.get("bytes"), name=name)
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
        case "error":
            draft.text(block.get("error") or block.get("text"))
        case kind:
            draft.keep(words(kind) or "block", block)


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
