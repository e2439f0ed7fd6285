"""
JSON in and out, where either end may be hostile.

In: nothing but JSON, no number beyond a double, no nesting that exhausts the stack.
Out: a document may hold what JSON has no word for; it becomes ``null``, and not an error.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from starlette.responses import Response

MAX_DEPTH: Final = 64
"""So many lists and objects may lie in each other; the document's own bound."""


def decode_json(data: bytes) -> Any:
    """
    Return what a body says.

    Raises:
        ValueError: It is no JSON (RFC 8259), or nested too deeply; the text says which.
    """
    try:
        value = json.loads(data.decode(), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        # Not its text, which may quote the body.
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"it is no JSON{where}") from None
    if not _is_shallow(value):
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    try:
        _dumps(value, ensure_ascii=False)
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair, which no text can") from None
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number that no double holds")
    return value


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False


def encode_json(value: Any) -> bytes:
    """Return JSON as UTF-8; what has no word in it is ``null``, and half a surrogate pair is escaped."""
    try:
        return _dumps(value, ensure_ascii=False)
    except UnicodeEncodeError:
        return _dumps(value, ensure_ascii=True)
    except (ValueError, TypeError):
        return _dumps(_plain(value), ensure_ascii=True)


def _dumps(value: Any, *, ensure_ascii: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else None


class JsonResponse(Response):
    """An answer in JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return encode_json(content)
