"""
Claude Code's sessions: JSON lines with uuids and parents, a tree.

One answer of the model is written as several lines with one message id, a line a block, and each
result of a tool as a line of its own: they become one message again. Lines that say nothing
(snapshots, hooks, progress) are passed over, and what stands on them stands on what was before.
What a person wrote while the model worked stands in an attachment, and nowhere else. The lines of
``claude -p --output-format stream-json`` have no parents: each stands on the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from syncd.interchange.formats.blocks import anthropic_blocks, anthropic_result
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

NAME: Final = "claude-code"

_SPOKEN: Final = {"user", "assistant"}
_ASIDE: Final = {
    "summary", "system", "attachment", "progress", "file-history-snapshot", "queue-operation",
    "permission-mode", "mode", "custom-title", "ai-title", "agent-name", "last-prompt", "pr-link",
    "frame-link", "started", "result", "agent-color", "agent-setting", "tag", "task-summary",
    "worktree-state", "content-replacement", "marble-origami-commit", "marble-origami-snapshot",
    "speculation-accept",
}  # fmt: skip
_KEYS: Final = {
    "parentUuid", "logicalParentUuid", "isSidechain", "promptId", "agentId", "type", "message", "uuid",
    "timestamp", "userType", "entrypoint", "cwd", "sessionId", "version", "gitBranch",
    "sourceToolAssistantUUID", "toolUseResult", "isMeta", "isCompactSummary", "isVisibleInTranscriptOnly",
    "requestId", "slug", "teamName", "permissionMode", "thinkingMetadata", "sourceToolUseID",
    "isApiErrorMessage", "error", "todos", "imagePasteIds", "origin", "sessionKind", "apiErrorStatus",
    "forkedFrom", "mcpMeta", "attributionSkill", "attributionPlugin", "effort", "promptSource", "session_id",
    "attributionMcpServer", "attributionMcpTool", "attributionAgent", "costUSD", "durationMs",
    "interruptedMessageId", "parent_tool_use_id", "turnOrigin",
}  # fmt: skip
_SESSION: Final = {"sessionId", "session_id", "parentUuid", "uuid", "isSidechain"}
_MESSAGE: Final = {
    "id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage", "container",
    "context_management", "stop_details", "diagnostics",
}  # fmt: skip


def matches(records: Sequence[dict[str, Any]]) -> bool:
    """Whether the first records are a session's of Claude Code."""
    spoken = [record for record in records if words(record.get("type")) in _SPOKEN]
    if spoken:
        return "message" in spoken[0] and bool(_SESSION & spoken[0].keys())
    known = [record for record in records if words(record.get("type")) in _ASIDE]
    return bool(known) and any(
        {"sessionId", "leafUuid", "messageId", "uuid"} & record.keys() for record in known
    )


def read(records: Iterable[dict[str, Any]], name: str, findings: Findings) -> Imported:
    """Read one session, or that of one of its agents."""
    session = _Session(findings)
    for record in records:
        session.take(record)
    return Imported(NAME, session.key or name, session.title, session.records(), session.last)


class _Session:
    """Reads the lines of one file."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._lines: dict[str, list[dict[str, Any]]] = {}
        self._part_of: dict[str, str] = {}
        self._parents: dict[str, str] = {}
        self._callers: dict[str, str] = {}
        self._answers: dict[str, str] = {}
        self.key = ""
        self.title = ""
        self.last: str | None = None

    def take(self, record: dict[str, Any]) -> None:
        """Take a line."""
        kind, uuid = words(record.get("type")), words(record.get("uuid"))
        session = words(record.get("sessionId")) or words(record.get("session_id"))
        if not self.key and session:
            agent = words(record.get("agentId"))
            self.key = f"{session}/{agent}" if agent else session
        parent = record.get("parentUuid") or record.get("logicalParentUuid")
        if uuid and isinstance(parent, str):
            self._parents.setdefault(uuid, parent)
        queued = an_object(record.get("attachment"))
        if kind == "attachment" and queued.get("type") == "queued_command" and queued.get("prompt"):
            record = {**record, "type": "user", "message": {"role": "user", "content": queued["prompt"]}}
            record["isMeta"] = an_object(queued.get("origin")).get("kind", "human") != "human"
            del record["attachment"]
            kind = "user"
        if kind in _SPOKEN and isinstance(record.get("message"), dict):
            self._speak(record, uuid or f"line-{len(self._part_of)}")
            return
        if kind in {"summary", "custom-title", "ai-title"}:
            self.title = (
                self.title
                or words(record.get("summary"))
                or words(record.get(f"{kind.partition('-')[0]}Title"))
            )
        if kind in _ASIDE:
            about = words(an_object(record.get("attachment")).get("type")) or words(record.get("subtype"))
            self._findings.leave_out(f"{kind} {about}".strip())
        else:
            self._findings.note_unknown(f"type {record.get('type')!r}")
            self._keep(record, uuid or f"line-{len(self._part_of)}", parent)

    def _keep(self, record: dict[str, Any], uuid: str, parent: Any) -> None:
        """Keep a line of a kind that nobody knows with what was said before it."""
        before = self._resolved(parent if isinstance(parent, str) else None) or self.last
        if before is not None:
            self._part_of[uuid] = before
            self._lines[before].append({"unknown": record})

    def _speak(self, record: dict[str, Any], uuid: str) -> None:
        group = self._group(record, uuid)
        if uuid in self._part_of:
            self._findings.leave_out("a line that is there twice")
            return
        self._part_of[uuid] = group
        if "parentUuid" not in record and self.last is not None:
            self._parents.setdefault(group, self.last)
        if record.pop("toolUseResult", None) is not None:
            # Half of a long session, which is all in memory.
            self._findings.leave_out("toolUseResult: a result once more, as it was shown")
        self._lines.setdefault(group, []).append(record)
        for block in objects(record["message"].get("content")):
            if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
                self._callers[block["id"]] = group
        if not record.get("isSidechain") or self.last is None:
            self.last = group

    def _group(self, record: dict[str, Any], uuid: str) -> str:
        """Return the first line of the message that a line is part of."""
        message = record["message"]
        above = self._part_of.get(words(record.get("parentUuid"))) if "parentUuid" in record else self.last
        if record["type"] == "assistant":
            name = message.get("id")
            lines = self._lines.get(above or "", [])
            same = [line for line in lines if an_object(line.get("message")).get("id") == name and name]
            return above if above and same else uuid
        if _is_results(message):
            caller = self._caller(message)
            return self._answers.setdefault(caller, uuid) if caller is not None else uuid
        return uuid

    def _caller(self, message: dict[str, Any]) -> str | None:
        """Return the message whose calls a message of results answers."""
        names = (
            self._callers.get(words(block.get("tool_use_id"))) for block in objects(message.get("content"))
        )
        return next((name for name in names if name is not None), None)

    def _parent(self, key: str, line: dict[str, Any]) -> str | None:
        """Return what a message stands on: of results, the calls that they answer."""
        message = an_object(line.get("message"))
        if _is_results(message):
            caller = self._caller(message)
            if caller is not None:
                return caller
        uuid = line.get("parentUuid") or line.get("logicalParentUuid")
        return self._resolved(uuid if "parentUuid" in line else self._parents.get(key))

    def _resolved(self, uuid: Any) -> str | None:
        """Return the message that a line is part of, or stands on where it says nothing itself."""
        seen: set[str] = set()
        while isinstance(uuid, str) and uuid not in seen:
            seen.add(uuid)
            if uuid in self._part_of:
                return self._part_of[uuid]
            uuid = self._parents.get(uuid)
        return None

    def records(self) -> list[Record]:
        """Return the messages."""
        return [self._record(key, lines) for key, lines in self._lines.items()]

    def _record(self, key: str, lines: list[dict[str, Any]]) -> Record:
        draft = Draft(NAME, self._findings)
        first, message = lines[0], an_object(lines[0].get("message"))
        model, role = words(message.get("model")), str(first["type"])
        for line in lines:
            if "unknown" in line:
                draft.keep(f"line {line['unknown'].get('type')}", line["unknown"])
                continue
            _add(draft, line, model)
            draft.keep_keys("line", line, _KEYS)
            draft.keep_keys("message", line["message"], _MESSAGE)
        last = an_object([line for line in lines if "unknown" not in line][-1].get("message"))
        usage = an_object(last.get("usage"))
        is_failed = first.get("isApiErrorMessage") is True
        return draft.record(
            key,
            self._parent(key, first),
            "tool" if _is_results(message) else role,
            created=milliseconds(first.get("timestamp")),
            name="claude-code" if first.get("isMeta") is True else "",
            model=model or None if role == "assistant" else None,
            usage=_usage(usage) if usage else None,
            stop_reason=words(last.get("stop_reason")) or None,
            status="failed" if is_failed else "complete",
        )


def _is_results(message: dict[str, Any]) -> bool:
    """Whether a message is nothing but results of tools, with what belongs to them."""
    blocks = objects(message.get("content"))
    return bool(blocks) and blocks[0].get("type") == "tool_result"


def _add(draft: Draft, line: dict[str, Any], model: str) -> None:
    content = line["message"].get("content")
    if line.get("isCompactSummary") is True:
        texts = [content] if isinstance(content, str) else [block.get("text") for block in objects(content)]
        draft.text("\n".join(text for text in texts if isinstance(text, str)), "summary")
        return
    if not isinstance(content, list):
        draft.text(content)
        return
    for block in content:
        if an_object(block).get("type") == "tool_result":
            anthropic_result(draft, block)
        else:
            anthropic_blocks(draft, [block], model=model)


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    read, made = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    counts = {"input_tokens": usage.get("input_tokens"), "output_tokens": usage.get("output_tokens")}
    shown = {name: count for name, count in counts.items() if isinstance(count, int)}
    if "input_tokens" in shown and isinstance(read, int) and isinstance(made, int):
        shown["input_tokens"] += read + made
        shown["cached_tokens"] = read
    return shown
