"""The pi agent's sessions: JSON lines, in a row or (since version 3) a tree by ``id`` and ``parentId``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from syncd.interchange.formats.blocks import anthropic_blocks, seal_thinking
from syncd.interchange.formats.chat_json import add_url
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

NAME: Final = "pi"

_ENTRY: Final = {"type", "id", "parentId", "timestamp", "summary"}
_ASIDE: Final = {"thinking_level_change", "model_change", "label", "custom"}
_STATUSES: Final = {"aborted": "interrupted", "error": "failed"}
_KEYS: Final = {
    "role", "content", "timestamp", "api", "provider", "model", "usage", "stopReason", "toolCallId",
    "toolName", "isError", "details", "errorMessage", "command", "output", "exitCode", "cancelled",
    "truncated", "fullOutputPath", "responseId", "customType", "display", "attachments",
    "excludeFromContext",
}  # fmt: skip


def matches(records: Sequence[dict[str, Any]]) -> bool:
    """Whether the first records are a session of pi's."""
    return any(
        (record.get("type") == "session" and "cwd" in record)
        or (record.get("type") == "message" and "role" in an_object(record.get("message")))
        for record in records
    )


def read(records: Iterable[dict[str, Any]], name: str, findings: Findings) -> Imported:
    """Read one session."""
    found: list[Record] = []
    stands_for: dict[str, str | None] = {}
    imported = Imported(NAME, name)
    last: str | None = None
    for number, entry in enumerate(records):
        if entry.get("type") == "session":
            imported.key = words(entry.get("id")) or name
            imported.fallback = milliseconds(entry.get("timestamp"))
            continue
        if entry.get("type") == "session_info":
            imported.title = words(entry.get("name"))
        key = words(entry.get("id")) or str(number)
        parent = stands_for.get(words(entry.get("parentId"))) if "parentId" in entry else last
        record = _record(entry, key, parent, findings)
        if record is not None:
            found.append(record)
        last = stands_for[key] = key if record is not None else parent
    imported.records, imported.current = found, last
    return imported


def _record(entry: dict[str, Any], key: str, parent: str | None, findings: Findings) -> Record | None:
    kind, draft = words(entry.get("type")), Draft(NAME, findings)
    created = milliseconds(entry.get("timestamp"))
    match kind:
        case "message":
            return _message(entry, key, parent, findings)
        case "compaction" | "branch_summary":
            draft.text(entry.get("summary"), "summary" if kind == "compaction" else "text")
            draft.keep_rest(entry, _ENTRY, kind)
            return draft.record(key, parent, "user", created=created, name="pi")
        case "custom_message":
            _blocks(draft, entry.get("content"), {})
            return draft.record(key, parent, "user", created=created, name=words(entry.get("customType")))
        case "session_info":
            return None
        case _ if kind in _ASIDE:
            findings.leave_out(kind)
            return None
        case _:
            draft.keep(f"entry {kind}", entry)
            return draft.record(key, parent, "user", created=created, name="pi")


def _message(entry: dict[str, Any], key: str, parent: str | None, findings: Findings) -> Record:
    message, draft = an_object(entry.get("message")), Draft(NAME, findings)
    said, role = words(message.get("role")), "user"
    model = words(message.get("model")) or None
    match said:
        case "toolResult":
            role = "tool"
            _result(draft, message)
        case "bashExecution":
            draft.text(f"$ {words(message.get('command'))}\n{words(message.get('output'))}")
        case "user" | "assistant":
            role = said
            _blocks(draft, message.get("content"), message)
        case "custom" | "hookMessage":
            _blocks(draft, message.get("content"), {})
        case "branchSummary" | "compactionSummary":
            draft.text(message.get("summary"), "summary" if said == "compactionSummary" else "text")
        case _:
            findings.note_unknown(f"role {said!r}")
            _blocks(draft, message.get("content"), {})
    if message.get("errorMessage"):
        draft.seal(NAME, "error", compact(message["errorMessage"]), at=None)
    if message.get("details"):
        findings.leave_out("details: what a tool or extension shows")
    draft.keep_keys("message", message, _KEYS)
    usage = an_object(message.get("usage"))
    reason = words(message.get("stopReason")) or None
    return draft.record(
        key,
        parent,
        role,
        created=milliseconds(message.get("timestamp")) or milliseconds(entry.get("timestamp")),
        model=model if role == "assistant" else None,
        usage=_usage(usage) if usage and role == "assistant" else None,
        stop_reason=reason,
        status=_STATUSES.get(reason or "", "complete"),
    )


def _result(draft: Draft, message: dict[str, Any]) -> None:
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else objects(content)
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    text = "\n".join(text for text in texts if isinstance(text, str))
    draft.result(message.get("toolCallId"), text, is_error=message.get("isError") is True)
    _blocks(draft, [block for block in blocks if block.get("type") != "text"], {})


def _blocks(draft: Draft, content: Any, message: dict[str, Any]) -> None:
    """Add content; ``message`` tells of an answer which API and model made it."""
    if not isinstance(content, list):
        draft.text(content)
        return
    for block in content:
        match an_object(block).get("type"):
            case "text":
                if draft.text(block.get("text")) is None and block.get("textSignature"):
                    draft.add("opaque", kind="text")
                _sign(draft, block.get("textSignature"), message)
            case "thinking" if block.get("redacted") is True:
                sealed = {"type": "redacted_thinking", "data": block.get("thinkingSignature")}
                anthropic_blocks(draft, [sealed], model=words(message.get("model")))
            case "thinking":
                draft.add("reasoning", text=words(block.get("thinking")))
                _sign(draft, block.get("thinkingSignature"), message)
            case "toolCall":
                draft.call(block.get("id"), block.get("name"), block.get("arguments"))
                _sign(draft, block.get("thoughtSignature"), message)
            case "image":
                _image(draft, block)
            case kind:
                draft.keep(words(kind) or "block", block)


def _sign(draft: Draft, signature: Any, message: dict[str, Any]) -> None:
    """Seal what a provider signed the part with that was added last, in the key space of its API."""
    if not isinstance(signature, str) or not signature:
        return
    model, api = words(message.get("model")), words(message.get("api"))
    is_reasoning = draft.parts[-1].type == "reasoning"
    if is_reasoning and (api.startswith(("anthropic", "bedrock")) or model.startswith("claude")):
        seal_thinking(draft, signature, model)
    elif is_reasoning and api.startswith("openai") and signature.startswith("{"):
        draft.seal("openai", "reasoning", signature, model=model or None)
    elif api.startswith("google"):
        space = "vertex" if "vertex" in api else "gemini-api"
        draft.seal("gemini", "thought_signature", signature, space=space, model=model or None)
    else:
        draft.seal(NAME, "signature", signature, model=model or None)


def _image(draft: Draft, block: dict[str, Any]) -> None:
    add_url(draft, f"data:{words(block.get('mimeType'))};base64,{words(block.get('data'))}")


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    counts = {
        key: usage[key]
        for key in ("input", "output", "cacheRead", "cacheWrite")
        if isinstance(usage.get(key), int)
    }
    shown: dict[str, Any] = {
        "input_tokens": counts.get("input", 0) + counts.get("cacheRead", 0) + counts.get("cacheWrite", 0),
        "output_tokens": counts.get("output", 0),
        "cached_tokens": counts.get("cacheRead", 0),
    }
    cost = an_object(usage.get("cost")).get("total")
    return shown | ({"cost": cost} if isinstance(cost, int | float) else {})
