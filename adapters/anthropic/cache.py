"""
Where a request is cached: points on boundaries that later requests share.

They stand behind the system prompt (tools stand before it), behind what the last answer was made from,
and at the end. The API looks back from each, so the second finds what the request before
has written, and the third writes for the next. Four are allowed, and others' count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

MAX_POINTS: Final = 4
_UNMARKED: Final = frozenset({"thinking", "redacted_thinking"})
_POINT: Final = {"type": "ephemeral"}


def with_points(body: Mapping[str, Any], wanted: int) -> tuple[dict[str, Any], int]:
    """Return a body with cache points, and how many were put; ``wanted`` is the most of them."""
    # In messages there are none but ours: blocks are written without.
    taken = sum(1 for _ in _markers(body.get("tools")))
    taken += body.get("cache_control") is not None
    marked = dict(body)
    put = 0
    for place in ("system", "messages before", "messages"):
        if put >= min(wanted, MAX_POINTS - taken):
            break
        put += _put(marked, place)
    return marked, put


def _put(body: dict[str, Any], place: str) -> bool:
    if place == "system":
        key = "system" if body.get("system") else "tools"
        if not body.get(key):
            return False
        body[key] = _marked(body[key])
        return "cache_control" in body[key][-1]
    messages = list(body["messages"])
    at = len(messages) - 1 if place == "messages" else _before_last_answer(messages)
    if at is None:
        return False
    content = _marked(messages[at]["content"])
    messages[at] = {**messages[at], "content": content}
    body["messages"] = messages
    return any("cache_control" in block for block in content[-1:])


def _before_last_answer(messages: list[dict[str, Any]]) -> int | None:
    answers = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    return answers[-1] - 1 if answers and answers[-1] > 0 else None


def _marked(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = blocks[-1]
    if last.get("type") in _UNMARKED or "cache_control" in last:
        return blocks
    return [*blocks[:-1], {**last, "cache_control": dict(_POINT)}]


def _markers(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "cache_control" and item is not None:
                yield item
            else:
                yield from _markers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _markers(item)
