"""
Arguments of a call that come in pieces, where a run asks Vertex for that (``streamFunctionCallArguments``).

A piece names its place by a path, ``$.steps[2].text`` say; texts grow, anything else comes whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]")
_VALUES: Final = ("stringValue", "numberValue", "boolValue")
_LONGEST: Final = 10_000
"""No list is longer: a stranger's number would fill the memory."""


class PartialArgs:
    """The arguments as far as they came."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.value: dict[str, Any] = {}

    def take(self, piece: Mapping[str, Any]) -> None:
        """Take in a piece; one that names no place is passed over."""
        path = piece.get("jsonPath")
        steps = [
            int(number) if number else name or quoted
            for name, number, quoted in _STEP.findall(path if isinstance(path, str) else "")
        ]
        value = next((piece[kind] for kind in _VALUES if kind in piece), None)
        if steps and isinstance(steps[0], str):
            _put(self.value, steps, value)


def _put(at: Any, steps: list[Any], value: Any) -> None:
    step, rest = steps[0], steps[1:]
    if isinstance(step, int) and isinstance(at, list) and step < _LONGEST:
        at.extend([None] * (step + 1 - len(at)))
        before = at[step]
    elif isinstance(step, str) and isinstance(at, dict):
        before = at.get(step)
    else:
        return
    if rest:
        at[step] = before if before is not None else [] if isinstance(rest[0], int) else {}
        _put(at[step], rest, value)
    else:
        is_text = isinstance(before, str) and isinstance(value, str)
        at[step] = before + value if is_text else value
