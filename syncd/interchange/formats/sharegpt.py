"""
ShareGPT: ``conversations`` with ``from`` and ``value``, in many dialects of who speaks.

A pair of a chosen and a rejected answer behind it are alternatives.
"""

from __future__ import annotations

import json
from typing import Any, Final

from syncd.interchange.formats.chat_json import add_tools, key_of, named_call
from syncd.interchange.records import Draft, Findings, Imported, Record, an_object, keep_outer, objects, words

NAME: Final = "sharegpt"

_ROLES: Final = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "system": "system", "tool": "tool",
    "observation": "tool", "function_response": "tool", "function_call": "assistant", "function": "tool",
    "function-call": "assistant", "function-response": "tool", "tool_call": "assistant",
    "tool_response": "tool", "claude": "assistant", "gemini": "assistant",
}  # fmt: skip
_CALLS: Final = {"function_call", "function-call", "tool_call"}
_KEYS: Final = {"from", "value", "markdown", "weight", "loss"}
_OUTER: Final = {"id", "title", "conversations", "items", "system", "tools", "chosen", "rejected"}


def matches(value: Any) -> bool:
    """Whether a value is a conversation of ShareGPT's."""
    said = _said(value)
    return bool(said) and "from" in said[0] and ("value" in said[0] or "markdown" in said[0])


def _said(value: Any) -> list[dict[str, Any]]:
    return objects(an_object(value).get("conversations") or an_object(value).get("items"))


def read(value: Any, findings: Findings) -> Imported:
    """Read one conversation."""
    said = _said(value)
    records: list[Record] = []
    draft = Draft(NAME, findings)
    draft.text(value.get("system"))
    add_tools(draft, value.get("tools"))
    if not draft.is_empty:
        records.append(draft.record("system", None, "system"))
    call_id = ""
    for number, turn in enumerate(said):
        call_id = f"call_{number}" if _speaker(turn) in _CALLS else call_id
        parent = records[-1].key if records else None
        records.append(_record(turn, str(number), parent, call_id, findings))
    current = parent = records[-1].key
    for kind in ("rejected", "chosen"):
        if isinstance(value.get(kind), dict):
            records.append(_record(value[kind], kind, parent, call_id, findings))
            current = kind
    imported = Imported(NAME, key_of(value, said), words(value.get("title")), records, current)
    keep_outer(imported, value, _OUTER)
    return imported


def _speaker(turn: dict[str, Any]) -> str:
    return words(turn.get("from")).lower()


def _record(turn: dict[str, Any], key: str, parent: str | None, call_id: str, findings: Findings) -> Record:
    draft, speaker = Draft(NAME, findings), _speaker(turn)
    role, said = _ROLES.get(speaker), turn.get("value", turn.get("markdown"))
    if role is None:
        findings.note_unknown(f"from {turn.get('from')!r}")
    if speaker in _CALLS:
        for name, arguments in _calls(said):
            draft.call(call_id, name, arguments)
    elif role == "tool":
        draft.result(call_id, said if said is not None else "")
    else:
        draft.text(said)
    draft.keep_keys("turn", turn, _KEYS)
    return draft.record(key, parent, role or "user", name=speaker)


def _calls(said: Any) -> list[tuple[str, Any]]:
    """Return the calls of a turn: one, or a list of them."""
    if isinstance(said, str):
        try:
            listed = json.loads(said)
        except ValueError:
            return [("", said)]
    else:
        listed = said
    if isinstance(listed, list) and listed and len(objects(listed)) == len(listed):
        return [named_call(json.dumps(call, ensure_ascii=False)) for call in listed]
    return [named_call(said if isinstance(said, str) else json.dumps(said, ensure_ascii=False))]
