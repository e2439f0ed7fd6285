"""Words in titles, found as full-text search finds them in messages: case and accents don't matter."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

_BIT: Final = re.compile(r'"([^"]*)"?|([^\s"]+)')


class Word(NamedTuple):
    """A folded word, and where it stands in its text."""

    folded: str
    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """Return the words of a text: runs of letters and digits."""
    words: list[Word] = []
    start = None
    for place, character in enumerate(f"{text} "):
        # A combining mark belongs to the letter before it.
        is_part = character.isalnum() or (start is not None and unicodedata.combining(character))
        if is_part and start is None:
            start = place
        elif not is_part and start is not None:
            words.append(Word(_folded(text[start:place]), start, place))
            start = None
    return words


def _folded(word: str) -> str:
    plain = (c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))
    return "".join(plain)


def found_in(text: str, asked: str) -> list[tuple[int, int]]:
    """
    Return where a text holds what is asked for; nothing, unless it holds all of it.

    Args:
        text: A title.
        asked: Words; those in quotes stand next to each other.

    Returns:
        Start and end of each word that was found, in order.
    """
    words = words_of(text)
    phrases = [[word.folded for word in words_of(quoted or bare)] for quoted, bare in _BIT.findall(asked)]
    found: set[Word] = set()
    for phrase in filter(None, phrases):
        places = [
            place
            for place in range(len(words))
            if [word.folded for word in words[place : place + len(phrase)]] == phrase
        ]
        if not places:
            return []
        found.update(word for place in places for word in words[place : place + len(phrase)])
    return [(word.start, word.end) for word in sorted(found, key=lambda word: word.start)]
