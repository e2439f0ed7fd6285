"""
Codex's rollouts: JSON lines, each an item of the Responses API, an event shown to the user, or a context.

Items are what counts; where a file has none of some kind, its events tell. What the model
produced between two inputs is one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

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

NAME: Final = "codex"

_ITEMS: Final = {
    "message", "reasoning", "function_call", "function_call_output", "custom_tool_call",
    "custom_tool_call_output", "local_shell_call", "web_search_call", "tool_search_call",
    "tool_search_output", "image_generation_call", "ghost_snapshot", "compaction", "compaction_summary",
}  # fmt: skip
_LINES: Final = {"session_meta", "turn_context", "response_item", "event_msg", "compacted"}
_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input", "local_shell_call": "action"}
_OUTPUTS: Final = {"function_call_output", "custom_tool_call_output"}
_COUNTS: Final = {
    "input_tokens": "input_tokens",
    "cached_input_tokens": "cached_tokens",
    "output_tokens": "output_tokens",
    "reasoning_output_tokens": "reasoning_tokens",
}
_TOLD: Final = {"user_message": "user", "agent_message": "assistant", "agent_reasoning": "reasoning"}
_ASIDE: Final = {
    "token_count", "turn.completed", "turn_aborted", "context_compacted", "task_started", "task_complete",
    "turn_started", "turn_complete", "agent_reasoning_raw_content", "agent_reasoning_section_break",
    "exec_command_begin", "exec_command_end", "exec_command_output_delta", "mcp_tool_call_begin",
    "mcp_tool_call_end", "patch_apply_begin", "patch_apply_end", "turn_diff", "web_search_begin",
    "web_search_end", "background_event", "stream_error", "plan_update", "entered_review_mode",
    "exited_review_mode", "item_started", "item_completed", "thread_rolled_back", "undo_completed",
    "view_image_tool_call", "thread_name_updated", "error", "warning",
}  # fmt: skip


def matches(records: Sequence[dict[str, Any]]) -> bool:
    """Whether the first records are a rollout of Codex'."""
    if any(record.get("type") in _LINES and isinstance(record.get("payload"), dict) for record in records):
        return True
    first = records[0] if records else {}
    is_old = "type" not in first and {"id", "timestamp"} <= first.keys() and "message" not in first
    return is_old and any(record.get("type") in _ITEMS for record in records[1:])


def read(records: Iterable[dict[str, Any]], name: str, findings: Findings) -> Imported:
    """Read one rollout."""
    lines = list(records)
    rollout = _Rollout(findings, _told_by_items(lines))
    for number, line in enumerate(lines):
        rollout.take(number, line)
    rollout.close()
    found = rollout.records
    return Imported(NAME, rollout.key or name, "", found, found[-1].key if found else None, rollout.started)


def _payload(line: dict[str, Any]) -> dict[str, Any]:
    payload = line.get("payload")
    return payload if isinstance(payload, dict) else line


def _told_by_items(lines: Sequence[dict[str, Any]]) -> set[str]:
    """Return of whom the items of a file tell: their events are the same again."""
    items = [_payload(line) for line in lines if line.get("type") != "event_msg"]
    told = {words(item.get("role")) for item in items if item.get("type") == "message"}
    return told | {"reasoning" for item in items if item.get("type") == "reasoning" and item.get("summary")}


class _Rollout:
    """Reads the lines of one file."""

    def __init__(self, findings: Findings, told: set[str]) -> None:
        self._findings = findings
        self._told = told
        self._draft: Draft | None = None
        self._role = ""
        self._opened: tuple[str, int] = ("", 0)
        self._model = ""
        self._usage: dict[str, Any] | None = None
        self.records: list[Record] = []
        self.key = ""
        self.started = 0

    def take(self, number: int, line: dict[str, Any]) -> None:
        """Take a line."""
        payload = _payload(line)
        at = (str(number), milliseconds(line.get("timestamp") or payload.get("timestamp")))
        match line.get("type"):
            case "session_meta":
                self._meta(payload, at)
            case "turn_context":
                self._model = words(payload.get("model")) or self._model
            case "event_msg":
                self._event(payload, at)
            case "compacted":
                self._open("user", at, anew=True).text(payload.get("message"), "summary")
            case None if "id" in line and number == 0:
                self._meta(line, at)
            case None if line.get("record_type") == "state":
                self._findings.leave_out("state")
            case "response_item" | None:
                self._item(payload, at)
            case kind if payload is line:
                self._item(line, at)
            case kind:
                self._keep(f"line {kind}", line, at)

    def _meta(self, meta: dict[str, Any], at: tuple[str, int]) -> None:
        self.key = self.key or words(meta.get("id"))
        self.started = self.started or milliseconds(meta.get("timestamp"))
        instructions = meta.get("instructions") or an_object(meta.get("base_instructions")).get("text")
        if isinstance(instructions, str) and instructions:
            self._open("system", at).text(instructions)

    def _event(self, event: dict[str, Any], at: tuple[str, int]) -> None:
        kind = words(event.get("type"))
        told = _TOLD.get(kind)
        if kind == "token_count":
            self._count(an_object(an_object(event.get("info")).get("last_token_usage")))
        if told is not None and told not in self._told:
            role = "assistant" if told == "reasoning" else told
            draft = self._open(role, at, anew=told != "reasoning" and self._role == role)
            draft.text(
                event.get("message") or event.get("text"), "reasoning" if told == "reasoning" else "text"
            )
        elif told is not None or kind in _ASIDE or kind.startswith("codex/event/"):
            self._findings.leave_out(kind)
        else:
            self._keep(f"event {kind}", event, at)

    def _item(self, item: dict[str, Any], at: tuple[str, int]) -> None:
        match words(item.get("type")):
            case "message":
                self._message(item, at)
            case "reasoning":
                self._reasoning(self._open("assistant", at), item)
            case kind if kind in _CALLS:
                call_id, name = item.get("call_id") or item.get("id"), item.get("name") or "local_shell"
                self._open("assistant", at).call(call_id, name, item.get(_CALLS[kind]))
            case kind if kind in _OUTPUTS:
                self._open("tool", at).result(item.get("call_id"), item.get("output"))
            case "ghost_snapshot":
                self._findings.leave_out("ghost_snapshot")
            case "token_count":
                self._count(item)
                self._findings.leave_out("token_count")
            case kind:
                self._keep(kind or words(item.get("record_type")) or "line", item, at)

    def _message(self, item: dict[str, Any], at: tuple[str, int]) -> None:
        role = _ROLES.get(words(item.get("role")))
        if role is None:
            self._findings.note_unknown(f"role {item.get('role')!r}")
        draft = self._open(role or "user", at, anew=role != "assistant")
        for block in objects(item.get("content")):
            match block.get("type"):
                case "input_text" | "output_text" | "text":
                    draft.text(block.get("text"))
                case "input_image":
                    add_url(draft, words(block.get("image_url")))
                case kind:
                    draft.keep(words(kind) or "block", block)

    def _reasoning(self, draft: Draft, item: dict[str, Any]) -> None:
        said = [
            words(block.get("text"))
            for block in (*objects(item.get("summary")), *objects(item.get("content")))
        ]
        draft.add("reasoning", text="\n\n".join(filter(None, said)))
        if isinstance(item.get("encrypted_content"), str):
            draft.seal(
                "openai", "reasoning", compact({**item, "type": "reasoning"}), model=self._model or None
            )

    def _keep(self, what: str, value: dict[str, Any], at: tuple[str, int]) -> None:
        (self._draft or self._open("assistant", at)).keep(what, value)

    def _count(self, usage: dict[str, Any]) -> None:
        counts = {name: usage[key] for key, name in _COUNTS.items() if isinstance(usage.get(key), int)}
        if counts and self._role == "assistant":
            self._usage = counts

    def _open(self, role: str, at: tuple[str, int], *, anew: bool = False) -> Draft:
        """Return the message that is being gathered, or begin one."""
        if self._draft is None or self._role != role or anew:
            self.close()
            self._draft, self._role, self._opened = Draft(NAME, self._findings), role, at
        return self._draft

    def close(self) -> None:
        """End the message that is being gathered."""
        draft, (key, created) = self._draft, self._opened
        if draft is not None and not draft.is_empty:
            is_answer = self._role == "assistant"
            record = draft.record(
                key,
                self.records[-1].key if self.records else None,
                self._role,
                created=created,
                model=self._model or None if is_answer else None,
                usage=self._usage if is_answer else None,
            )
            self.records.append(record)
        self._draft, self._usage = None, None
