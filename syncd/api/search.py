"""Search: titles first, then messages, best first, of what the caller may read."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from crdt_conv import ConversationInfo
from syncd.api.call import Call
from syncd.api.encoding import JsonResponse
from syncd.api.operations import Answer, Operation, Parameter
from syncd.api.pages import CURSOR, LIMIT, LINK, decode_cursor, encode_cursor, link_to
from syncd.api.schemas import ID, ref
from syncd.api.titles import found_in
from syncd.view import info_json

DEPTH: Final = 2000
"""So many messages are looked at; who wants more asks for more words."""

QUERY: Final = Parameter(
    "q",
    {"type": "string", "maxLength": 1000},
    'Words that must all be there; "several words" in quotes stand next to each other.',
    is_required=True,
)
ONLY_IN: Final = Parameter("conversation", ID, "Only in this one.")


class _Hit(NamedTuple):
    """``message`` is none where the title was found."""

    info: ConversationInfo
    message: str | None
    snippet: list[dict[str, Any]]


async def search(call: Call) -> Response:
    """Find conversations and messages."""
    await call.catch_up()
    words, limit = call.query("q"), call.query("limit") or LIMIT.schema["default"]
    cursor = call.query("cursor")
    place = decode_cursor(cursor, int)[0] if cursor is not None else 0
    results: list[dict[str, Any]] = []
    following = None
    async for at, hit in _readable(call, words):
        if at < place:
            continue
        if len(results) == limit:
            following = encode_cursor([at])
            break
        shown = {"conversation": info_json(hit.info), "message": hit.message, "snippet": hit.snippet}
        results.append(shown)
    return JsonResponse({"results": results, "next": following}, headers=link_to(call.request, following))


async def _readable(call: Call, words: str) -> AsyncIterator[tuple[int, _Hit]]:
    """Yield what the caller may read, behind its place among all that was found."""
    for at, hit in enumerate(_hits(call, words)):
        if await call.may_read(hit.info.id):
            yield at, hit


def _hits(call: Call, words: str) -> Iterator[_Hit]:
    only = call.query("conversation")
    infos = {info.id: info for info in call.store.list() if only in {None, info.id}}
    for info in infos.values():
        found = found_in(info.title, words)
        if found:
            yield _Hit(info, None, _marked(info.title, found))
    # Marks that no text can hold by chance or on purpose.
    begin, end = f"<{secrets.token_hex(8)}>", f"</{secrets.token_hex(8)}>"
    limit = LIMIT.schema["maximum"]
    seen = 0
    while seen < limit:
        batch = call.store.search(words, limit=limit, conversation=only, marks=(begin, end))
        for message in batch[seen:]:
            # Deleted meanwhile, where it is not listed.
            if message.conversation in infos:
                snippet = _pieces(message.snippet, begin, end)
                yield _Hit(infos[message.conversation], message.message, snippet)
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


OPERATIONS: Final = (
    Operation(
        "search",
        "GET",
        "/search",
        "Conversations and messages, best first",
        search,
        None,
        {200: Answer("A page of what was found.", ref("SearchResults"), headers=LINK)},
        parameters=(QUERY, ONLY_IN, LIMIT, CURSOR),
        note="Shows what the caller may read.",
    ),
)
