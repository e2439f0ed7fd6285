"""
The formats, each a module: what it looks like, and how it is read.

A *document* format is JSON with one conversation in each value: ``matches(value)`` and ``read(value,
findings)``. A *session* format is JSON lines that are one conversation together: ``matches(records)``
looks at the first few, ``read(records, name, findings)`` reads all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from syncd.interchange.formats import (
    chat_json,
    chatgpt,
    claude_ai,
    claude_code,
    codex,
    gemini_cli,
    gemini_cli_lines,
    librechat,
    openassistant,
    pi,
    sharegpt,
)
from syncd.interchange.records import Findings, Imported


class DocumentFormat(NamedTuple):
    """JSON with one conversation in each value."""

    name: str
    matches: Callable[[Any], bool]
    read: Callable[[Any, Findings], Imported]


class SessionFormat(NamedTuple):
    """JSON lines that are one conversation together."""

    name: str
    matches: Callable[[Sequence[dict[str, Any]]], bool]
    read: Callable[[Iterable[dict[str, Any]], str, Findings], Imported]


DOCUMENTS: Final = (
    *(
        DocumentFormat(module.NAME, module.matches, module.read)
        for module in (chatgpt, claude_ai, librechat, openassistant, gemini_cli, sharegpt)
    ),
    DocumentFormat(codex.NAME, codex.matches_document, codex.read_document),
    # The last: so many programs have messages with roles.
    DocumentFormat(chat_json.NAME, chat_json.matches, chat_json.read),
)
SESSIONS: Final = (
    *(
        SessionFormat(module.NAME, module.matches, module.read)
        for module in (gemini_cli_lines, claude_code, codex, pi)
    ),
)
