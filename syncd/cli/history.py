"""
What was typed in earlier sessions: a file in the user's state directory, which only its owner can read.

Redacting a message takes it out of there, too: its bytes are to be in no file.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "CONV_HISTORY"


def history_file() -> Path:
    """Return where it is."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else Path(platformdirs.user_state_dir("crdt-conv", appauthor=False)) / "chat"


def open_history() -> Path | None:
    """Make the file, where it is missing, for its owner alone; nothing where that can't be."""
    file = history_file()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        file.chmod(0o600)
    except OSError:
        return None
    return file


def forget(text: str) -> None:
    """Take a text out, wherever it is all of what was typed, or the end of a command."""
    file = history_file()
    try:
        entries = _entries(file.read_text(errors="replace"))
    except OSError:
        return
    kept = [entry for entry in entries if not _holds(entry, text)]
    if not text.strip() or len(kept) == len(entries):
        return
    draft = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as lines:
        lines.write("".join(kept))
    draft.replace(file)


def _entries(text: str) -> list[str]:
    """Return entries as prompt_toolkit writes them: a comment, then lines that begin with ``+``."""
    entries: list[str] = []
    for line in text.splitlines(keepends=True):
        if not line.startswith("+") and (not entries or "\n+" in entries[-1]):
            entries.append("")
        if entries:
            entries[-1] += line
    return entries


def _holds(entry: str, text: str) -> bool:
    typed = "\n".join(line[1:] for line in entry.splitlines() if line.startswith("+"))
    return typed.strip() == text.strip() or (typed.startswith("/") and typed.strip().endswith(text.strip()))
