"""Search: titles first, then messages, best first, of what the caller may read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import islice
from typing import Any, Final

import anyio.lowlevel
import anyio.to_thread
from starlette.responses import Response

from syncd.api.call import Call
from syncd.api.encoding import JsonResponse
from syncd.api.operations import Answer, Operation, Parameter
from syncd.api.pages import CURSOR, LIMIT, LINK, decode_cursor, encode_cursor, link_to
from syncd.api.schemas import ID, ref
from syncd.searching import Hit, hits

QUERY: Final = Parameter(
    "q",
    {"type": "string", "maxLength": 1000},
    'Words that must all be there; "several words" in quotes stand next to each other.',
    is_required=True,
)
BATCH: Final = 200
"""So many hits are fetched at a time."""
ONLY_IN: Final = Parameter("conversation", ID, "Only in this one.")


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
        results.append(hit.as_json())
    return JsonResponse({"results": results, "next": following}, headers=link_to(call.request, following))


async def _readable(call: Call, words: str) -> AsyncIterator[tuple[int, Hit]]:
    """Yield what the caller may read, behind its place among all that was found."""
    # Conversations are read on the loop, where they are used; the index in a thread.
    for _ in call.store.reindexing():
        await anyio.lowlevel.checkpoint()
    found = enumerate(hits(call.store, words, call.query("conversation"), search=call.store.search_stored))
    while batch := await anyio.to_thread.run_sync(lambda: [*islice(found, BATCH)]):
        for at, hit in batch:
            if await call.may_read(hit.info.id):
                yield at, hit


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
