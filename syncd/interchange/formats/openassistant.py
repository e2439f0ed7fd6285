"""Open-Assistant's trees: a prompt with replies, which have replies; the lowest rank is the best."""

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

NAME: Final = "openassistant"

_ROLES: Final = {"prompter": "user", "assistant": "assistant"}
_KEPT: Final = ("lang", "rank", "labels", "emojis", "detoxify", "deleted", "synthetic")
_KEYS: Final = {
    "message_id", "parent_id", "text", "role", "lang", "review_count", "review_result", "deleted", "rank",
    "synthetic", "model_name", "replies", "created_date", "user_id", "tree_state", "message_tree_id",
    "emojis", "labels", "detoxify", "events",
}  # fmt: skip


def matches(value: Any) -> bool:
    """Whether a value is a tree of Open-Assistant's."""
    return "message_id" in an_object(an_object(value).get("prompt"))


def read(value: Any, findings: Findings) -> Imported:
    """Read one tree."""
    prompt = value["prompt"]
    records: list[Record] = []
    waiting: list[tuple[dict[str, Any], str | None]] = [(prompt, None)]
    while waiting:
        node, parent = waiting.pop()
        record = _record(node, parent, findings)
        records.append(record)
        waiting += [(reply, record.key) for reply in reversed(objects(node.get("replies")))]
    key = words(value.get("message_tree_id")) or words(prompt["message_id"])
    return Imported(NAME, key, "", records, _best(prompt))


def _record(node: dict[str, Any], parent: str | None, findings: Findings) -> Record:
    draft = Draft(NAME, findings)
    draft.text(node.get("text"))
    draft.keep_rest({key: node.get(key) for key in _KEPT}, (), "metadata")
    draft.keep_keys("message", node, _KEYS)
    role = _ROLES.get(words(node.get("role")))
    if role is None:
        findings.note_unknown(f"role {node.get('role')!r}")
    model = words(node.get("model_name")) or None
    return draft.record(
        words(node.get("message_id")),
        parent,
        role or "user",
        created=milliseconds(node.get("created_date")),
        name=words(node.get("user_id")),
        model=model if role == "assistant" else None,
    )


def _best(node: dict[str, Any]) -> str:
    while replies := objects(node.get("replies")):
        node = min(replies, key=lambda reply: rank if isinstance(rank := reply.get("rank"), int) else 1 << 30)
    return words(node.get("message_id"))
