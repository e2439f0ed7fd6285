"""What of a server's words may be passed on: nothing that repeats the request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

_QUOTE_LENGTH = 200
_HEAD_LENGTH = 24
# Of a request: no person wrote these.
_OUR_WORDS = frozenset({"role", "type", "model", "name", "id", "call_id", "tool_call_id", "tool_use_id"})


def quotable(message: str, sent: Mapping[str, object]) -> str:
    """Return what a server said, or nothing if it repeats any text of the request."""
    if any(_quotes(message, form) for text in _texts(sent) for form in (text, _escaped(text))):
        return ""
    return message.split("\n", maxsplit=1)[0][:_QUOTE_LENGTH]


def _quotes(message: str, text: str) -> bool:
    # Servers shorten what they quote, so the head of a long text is enough; a short
    # one has to stand there as a word, or "a" would be found in everything.
    head = text.strip()[:_HEAD_LENGTH]
    end = "" if len(head) == _HEAD_LENGTH else r"(?!\w)"
    return bool(head and re.search(rf"(?<!\w){re.escape(head)}{end}", message))


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _texts(value: object, key: str = "") -> Iterator[str]:
    if isinstance(value, str) and key not in _OUR_WORDS:
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, name)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _texts(item, key)
