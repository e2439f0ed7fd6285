"""
Finding conversations and messages: titles first, then messages, best first.

What is printed is the same over HTTP and on the command line.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from crdt_conv import ConversationInfo, Store
from crdt_conv.engine import Found
from syncd.titles import found_in
from syncd.view import info_json

DEPTH: Final = 2000
"""So many messages are looked at; who wants more asks for more words."""
FIRST: Final = 200


class Hit(NamedTuple):
    """``message`` is none where the title was found; ``snippet`` is pieces of text, those found marked."""

    info: ConversationInfo
    message: str | None
    snippet: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"conversation": info_json(self.info), "message": self.message, "snippet": self.snippet}


class Search(Protocol):
    """``Store.search``, or ``Store.search_stored``."""

    def __call__(
        self, words: str, *, limit: int, conversation: str | None, marks: tuple[str, str]
    ) -> Sequence[Found]:
        """Return the messages that hold all words."""


def hits(store: Store, words: str, only: str | None = None, *, search: Search | None = None) -> Iterator[Hit]:
    """
    Yield what holds all words, best first.

    Args:
        store: Where to look.
        words: ``"several words"`` in quotes stand next to each other.
        only: A conversation's id; everywhere, where it is left out.
        search: How, where it is not the store's own way; with ``search_stored`` this may run in any thread.
    """
    infos = {info.id: info for info in store.list() if only in {None, info.id}}
    for info in infos.values():
        found = found_in(info.title, words)
        if found:
            yield Hit(info, None, _marked(info.title, found))
    # Marks that no text can hold by chance or on purpose.
    begin, end = f"<{secrets.token_hex(8)}>", f"</{secrets.token_hex(8)}>"
    limit, seen, search = FIRST, 0, search or store.search
    while seen < limit:
        batch = search(words, limit=limit, conversation=only, marks=(begin, end))
        for message in batch[seen:]:
            # Deleted meanwhile, where it is not listed.
            if message.conversation in infos:
                snippet = _pieces(message.snippet, begin, end)
                yield Hit(infos[message.conversation], message.message, snippet)
        seen = len(batch)
        limit = min(limit * 4, DEPTH) if seen == limit else seen


def _marked(text: str, found: list[tuple[int, int]]) -> list[dict[str, Any]]:
    pieces: list[dict[str, Any]] = []
    place = 0
    for start, end in found:
        pieces += [_piece(text[place:start]), _piece(text[start:end], is_found=True)]
        place = end
    return [piece for piece in (*pieces, _piece(text[place:])) if piece["text"]]


def _pieces(snippet: str, begin: str, end: str) -> list[dict[str, Any]]:
    first, *others = snippet.split(begin)
    pieces = [_piece(first)]
    for other in others:
        found, _, rest = other.partition(end)
        pieces += [_piece(found, is_found=True), _piece(rest)]
    return [piece for piece in pieces if piece["text"]]


def _piece(text: str, *, is_found: bool = False) -> dict[str, Any]:
    return {"text": text, "found": is_found}
