"""``reasoning_details``: one list, put together from what a stream sends of it in pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_GROWS = ("text", "summary", "data")


class Details:
    """The list as far as it came."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def take(self, entries: Sequence[Mapping[str, Any]], *, is_whole: bool) -> None:
        """Take in entries; those of a whole answer stand as they are."""
        for entry in entries:
            before = None if is_whole else self._begun(entry)
            if before is None:
                self.entries.append(dict(entry))
            else:
                _join(before, entry)

    def _begun(self, entry: Mapping[str, Any]) -> dict[str, Any] | None:
        return next((before for before in reversed(self.entries) if _is_same(before, entry)), None)


def _is_same(before: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    if any(before.get(key) != entry.get(key) for key in ("type", "index")):
        return False
    ids = {before.get("id"), entry.get("id")}
    # Seals of two calls may have one index; of a text the id may come with a later piece.
    return len(ids if "data" in entry else ids - {None}) < 2


def _join(before: dict[str, Any], entry: Mapping[str, Any]) -> None:
    for key, value in entry.items():
        if key in _GROWS and isinstance(value, str) and isinstance(before.get(key), str):
            # What is sealed comes twice sooner than in equal halves.
            before[key] += value if key != "data" or value != before[key] else ""
        elif value not in (None, ""):
            before[key] = value
