"""ShareGPT: ``conversations`` with ``from`` and ``value``, in many dialects of who speaks."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from syncd.interchange.records import Draft, Findings, Imported, Record, an_object, compact, objects, words

NAME: Final = "sharegpt"

_ROLES: Final = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "system": "system", "tool": "tool",
    "observation": "tool", "function_response": "tool", "function_call": "assistant", "function": "tool",
}  # fmt: skip
_KEYS: Final = {"from", "value", "markdown", "text", "weight", "loss"}


def matches(value: Any) -> bool:
    """Whether a value is a conversation of ShareGPT's."""
    said = objects(an_object(value).get("conversations") or an_object(value).get("items"))
    return bool(said) and "from" in said[0] and "value" in said[0]


def read(value: Any, findings: Findings) -> Imported:
    """Read one conversation."""
    said = objects(value.get("conversations") or value.get("items"))
    records: list[Record] = []
    if isinstance(value.get("system"), str) and value["system"]:
        draft = Draft(NAME, findings)
        draft.text(value["system"])
        records.append(draft.record("system", None, "system"))
    call_id = ""
    for number, turn in enumerate(said):
        draft, speaker = Draft(NAME, findings), words(turn.get("from")).lower()
        role = _ROLES.get(speaker)
        if role is None:
            findings.note_unknown(f"from {turn.get('from')!r}")
        if speaker == "function_call":
            call_id = f"call_{number}"
            name, arguments = _function(turn.get("value"))
            draft.call(call_id, name, arguments)
        elif role == "tool":
            draft.result(call_id, turn.get("value"))
        else:
            draft.text(turn.get("value"))
        draft.keep_keys("turn", turn, _KEYS)
        records.append(
            draft.record(str(number), records[-1].key if records else None, role or "user", name=speaker)
        )
    key = words(value.get("id")) or hashlib.sha256(compact(said).encode()).hexdigest()
    return Imported(NAME, key, words(value.get("title")), records, records[-1].key if records else None)


def _function(value: Any) -> tuple[str, Any]:
    try:
        call = an_object(json.loads(value)) if isinstance(value, str) else an_object(value)
    except ValueError:
        return "", value
    return words(call.get("name")), call.get("arguments")
