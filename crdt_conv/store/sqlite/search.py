"""
Full-text search: words to an FTS5 expression, and texts with what was found marked in them.

All words must be there; ``"several words"`` in quotes stand next to each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sqlite_utils import Database


def match_expression(db: Database, words: str) -> str:
    """Return what FTS5 is asked for, quoted so that nothing is an operator; empty without a word."""
    return db.quote_fts(words.replace("\0", " ")) if any(map(str.isalnum, words)) else ""


def highlighted(expression: str, texts: Sequence[str], marks: tuple[str, str]) -> list[str]:
    """Return the part of each text that says most about what was asked for, marked where it was found."""
    with sqlite3.connect(":memory:") as scratch:
        scratch.execute(
            "create virtual table found using fts5 (text, tokenize = 'unicode61 remove_diacritics 2')"
        )
        scratch.executemany("insert into found (rowid, text) values (?, ?)", enumerate(texts))
        rows = scratch.execute(
            "select rowid, snippet(found, 0, ?, ?, '…', 24) from found where found match ?",
            (*marks, expression),
        )
        snippets = dict(rows.fetchall())
    scratch.close()
    return [snippets.get(place, "") for place in range(len(texts))]
