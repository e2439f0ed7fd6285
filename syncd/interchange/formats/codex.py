"""
Codex's rollouts: JSON lines, each an item of the Responses API, an event shown to the user, or a context.

Items are what counts; what its events tell beside them (of a turn that was broken off, say) is
taken from there. What the model produced between two inputs is one message. Turns that were
rolled back stay, and what was said instead is another branch.
"""

from __future__ import annotations

from collections import Counter
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
_FILE: Final = "application/octet-stream"
_LINES: Final = {"session_meta", "turn_context", "response_item", "event_msg", "compacted"}
_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_CALLS: Final = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "local_shell_call": "action",
    "tool_search_call": "arguments",
}
_COMPACTIONS: Final = {"compaction", "compaction_summary", "context_compaction"}
_MESSAGE: Final = {
    "type",
    "role",
    "content",
    "id",
    "phase",
    "status",
    "end_turn",
    "timestamp",
    "metadata",
    "internal_chat_message_metadata_passthrough",
}
_OUTPUTS: Final = {"function_call_output", "custom_tool_call_output"}
_COUNTS: Final = {
    "input_tokens": "input_tokens",
    "cached_input_tokens": "cached_tokens",
    "output_tokens": "output_tokens",
    "reasoning_output_tokens": "reasoning_tokens",
}
_TOLD: Final = {
    "user_message": "user",
    "agent_message": "assistant",
    "agent_reasoning": "reasoning",
    "UserMessage": "user",
    "AgentMessage": "assistant",
    "Reasoning": "reasoning",
    "Plan": "assistant",
}
_ENDS: Final = {"turn_aborted", "task_complete", "turn_complete"}
_ASIDE: Final = {
    "token_count", "turn.completed", "turn_aborted", "context_compacted", "task_started", "task_complete",
    "turn_started", "turn_complete", "agent_reasoning_raw_content", "agent_reasoning_section_break",
    "exec_command_begin", "exec_command_end", "exec_command_output_delta", "mcp_tool_call_begin",
    "mcp_tool_call_end", "patch_apply_begin", "patch_apply_end", "turn_diff", "web_search_begin",
    "web_search_end", "background_event", "stream_error", "plan_update", "entered_review_mode",
    "exited_review_mode", "item_started", "item_completed", "undo_completed",
    "view_image_tool_call", "error", "warning", "thread_goal_updated", "thread_settings_applied",
    "guardian_assessment", "token_usage_record",
}  # fmt: skip


def matches(records: Sequence[dict[str, Any]]) -> bool:
    """Whether the first records are a rollout of Codex'."""
    if any(
        words(record.get("type")) in _LINES and isinstance(record.get("payload"), dict) for record in records
    ):
        return True
    first = records[0] if records else {}
    is_old = "type" not in first and {"id", "timestamp"} <= first.keys() and "message" not in first
    return is_old and any(words(record.get("type")) in _ITEMS for record in records[1:])


def read(records: Iterable[dict[str, Any]], name: str, findings: Findings) -> Imported:
    """Read one rollout."""
    lines = list(records)
    rollout = _Rollout(findings, _told_by_items(lines))
    for number, line in enumerate(lines[: _settled(lines)]):
        rollout.take(number, line)
    rollout.close()
    return Imported(NAME, rollout.key or name, rollout.title, rollout.records, rollout.last, rollout.started)


def _settled(lines: Sequence[dict[str, Any]]) -> int:
    """Return how many lines count: of events at the end of a turn that still runs, items will tell."""
    items = [_payload(line) for line in lines if line.get("type") != "event_msg"]
    told = {words(item.get("role")) for item in items if item.get("type") == "message"}
    told |= {"reasoning" for item in items if item.get("type") == "reasoning"}
    settled = len(lines)
    for number, line in reversed(list(enumerate(lines))):
        kind = words(_payload(line).get("type"))
        if line.get("type") != "event_msg" or kind in _ENDS:
            break
        if _TOLD.get(kind) in told:
            settled = number
    return settled


def matches_document(value: Any) -> bool:
    """Whether a value is a session of the first Codex, one JSON object a file."""
    session, items = an_object(an_object(value).get("session")), an_object(value).get("items")
    return "id" in session and isinstance(items, list)


def read_document(value: Any, findings: Findings) -> Imported:
    """Read a session of the first Codex."""
    return read([value["session"], *objects(value["items"])], "", findings)


def _payload(line: dict[str, Any]) -> dict[str, Any]:
    payload = line.get("payload")
    return payload if isinstance(payload, dict) else line


def _told_by_items(lines: Sequence[dict[str, Any]]) -> tuple[set[str], set[str]]:
    """
    Return who is told of by items, and what they say: events that tell it are the same again.

    Of somebody of whom there are as many items as events, an event may have other words.
    """
    items = [_payload(line) for line in lines if line.get("type") != "event_msg"]
    events = [_payload(line) for line in lines if line.get("type") == "event_msg"]
    texts: set[str] = set()
    counts: Counter[str] = Counter()
    for item in items:
        blocks = (*objects(item.get("content")), *objects(item.get("summary")))
        said = [words(block.get("text")) for block in blocks]
        texts.update(text.strip() for text in (*said, "\n".join(said), "".join(said)))
        if item.get("type") == "message" and not _is_put_in_front("".join(said)):
            counts[words(item.get("role"))] += 1
    told = Counter(_TOLD.get(words(event.get("type")), "") for event in events)
    return {role for role in counts if role and counts[role] >= told[role]}, texts


def _is_put_in_front(text: str) -> bool:
    """Whether a program said it, not a person."""
    return text.lstrip().startswith(("<", "# AGENTS.md"))


def _said(event: dict[str, Any]) -> str:
    """Return what an event, or the item in it, tells."""
    text = event.get("message") or event.get("text") or event.get("summary_text")
    if isinstance(text, list):
        return "\n\n".join(part for part in text if isinstance(part, str))
    blocks = [words(block.get("text")) for block in objects(event.get("content"))]
    return words(text) or "\n".join(blocks)


class _Rollout:
    """Reads the lines of one file."""

    def __init__(self, findings: Findings, told: tuple[set[str], set[str]]) -> None:
        self._findings = findings
        self._told, self._texts = told
        self._draft: Draft | None = None
        self._role = ""
        self._opened: tuple[str, int] = ("", 0)
        self._model = ""
        self._usage: dict[str, Any] | None = None
        self.records: list[Record] = []
        self.last: str | None = None
        self.key = ""
        self.title = ""
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
                self._compacted(payload, at)
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
        if kind == "thread_name_updated":
            self.title = words(event.get("thread_name")) or words(event.get("name")) or self.title
            return
        if kind == "thread_rolled_back":
            self._roll_back(event.get("num_turns"))
            return
        item = an_object(event.get("item"))
        if kind == "item_completed" and words(item.get("type")) in _TOLD:
            event, told = item, _TOLD[words(item.get("type"))]
        said = _said(event).strip()
        if told is not None and said and told not in self._told and said not in self._texts:
            self._texts.add(said)
            role = "assistant" if told == "reasoning" else told
            draft = self._open(role, at, anew=told != "reasoning" and self._role == role)
            draft.text(said, "reasoning" if told == "reasoning" else "text")
        elif told is not None or kind in _ASIDE or kind.startswith("codex/event/"):
            self._findings.leave_out(kind)
        else:
            self._keep(f"event {kind}", event, at)

    def _roll_back(self, turns: Any) -> None:
        """Go back before the last questions; what comes stands beside them."""
        self.close()
        asked = [record for record in self._line() if _is_question(record)]
        if isinstance(turns, int) and turns > 0 and asked:
            self.last = asked[-min(turns, len(asked))].parent

    def _line(self) -> list[Record]:
        """Return the messages that lead to where the session stands."""
        by_key = {record.key: record for record in self.records}
        line: list[Record] = []
        key = self.last
        while key is not None:
            line.append(by_key[key])
            key = by_key[key].parent
        return line[::-1]

    def _compacted(self, payload: dict[str, Any], at: tuple[str, int]) -> None:
        """Add a summary; a sealed one replaces nothing for those who can't read it."""
        if payload.get("message"):
            self._open("user", at, anew=True).text(payload["message"], "summary")
        for item in objects(payload.get("replacement_history")):
            if words(item.get("type")) in _COMPACTIONS:
                self._seal_item(self._open("user", at, anew=self._role != "user"), item)

    def _seal_item(self, draft: Draft, item: dict[str, Any]) -> None:
        kind = words(item.get("type"))
        draft.add("opaque", kind=kind)
        draft.seal("openai", kind, compact(item), model=self._model or None)

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
                _output(self._open("tool", at), item)
            case "tool_search_output":
                self._open("tool", at).result(item.get("call_id"), item.get("tools"))
            case "image_generation_call" if isinstance(item.get("result"), str):
                draft = self._open("assistant", at)
                add_url(draft, f"data:image/png;base64,{item['result']}")
                rest = {key: value for key, value in item.items() if key != "result"}
                draft.keep_rest(rest, {"type", "status"}, "image_generation_call")
            case kind if kind in _COMPACTIONS or kind == "web_search_call":
                self._seal_item(self._open("assistant", at), item)
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
                case "input_image" if isinstance(block.get("image_url"), str):
                    add_url(draft, block["image_url"])
                case "input_file" if isinstance(block.get("file_data"), str):
                    add_url(draft, block["file_data"], _FILE, words(block.get("filename")))
                case kind:
                    draft.keep(words(kind) or "block", block)
        if isinstance(item.get("content"), str):
            draft.text(item["content"])
        draft.keep_keys("message", item, _MESSAGE)

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
                self.last,
                self._role,
                created=created,
                model=self._model or None if is_answer else None,
                usage=self._usage if is_answer else None,
            )
            self.records.append(record)
            self.last = record.key
        self._draft, self._usage = None, None


def _is_question(record: Record) -> bool:
    text = next((part.text for part in record.parts if part.type == "text"), "")
    return record.role == "user" and not _is_put_in_front(text)


def _output(draft: Draft, item: dict[str, Any]) -> None:
    """Add the result of a call; pictures stand behind it."""
    output = item.get("output")
    if isinstance(output, dict) and "content" in output:
        draft.result(item.get("call_id"), output["content"], is_error=output.get("success") is False)
        return
    blocks = objects(output)
    if not isinstance(output, list) or len(blocks) != len(output):
        draft.result(item.get("call_id"), output if output is not None else "")
        return
    texts = [block.get("text") for block in blocks if block.get("type") == "input_text"]
    draft.result(item.get("call_id"), "\n".join(text for text in texts if isinstance(text, str)))
    for block in blocks:
        if block.get("type") == "input_image" and isinstance(block.get("image_url"), str):
            add_url(draft, block["image_url"])
        elif block.get("type") != "input_text":
            draft.keep(words(block.get("type")) or "block", block)
