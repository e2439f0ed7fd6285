"""``conv search``: among all conversations, whoever holds the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.markup import escape

from crdt_conv import Store, StoreLocked, StoreMissing, StoreReadOnly
from syncd.auth import read_token
from syncd.cli.common import DbOption, JsonOption, console, print_json
from syncd.cli.workspace import reading
from syncd.errors import SyncRefused, SyncTimeout
from syncd.searching import hits

TIMEOUT_S = 30.0


def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help="All must be there; quoted, in a row.")],
    db: DbOption,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many at most.")] = 20,
    json: JsonOption = False,
) -> None:
    """
    Find conversations by their titles, and messages by what they say, best first.

    Examples:
        conv search lisbon '"good food"'
    """
    results = _results(db, " ".join(words), limit)
    if json:
        print_json({"results": results})
        return
    if not results:
        console.print("nothing holds all of these words")
    for result in results:
        found = result["conversation"]
        title = escape(found["title"]) or "untitled"
        console.print(f"[bold]{title}[/] [dim]{found['id']} {escape(result['message'] or '')}[/]")
        pieces = (_piece(piece) for piece in result["snippet"] if result["message"] is not None)
        console.print("".join(pieces) or "[dim]its title[/]")
        console.print()


def _piece(piece: Mapping[str, Any]) -> str:
    text = escape(piece["text"])
    return f"[bold yellow]{text}[/]" if piece["found"] else text


def _results(db: Path, words: str, limit: int) -> Sequence[Mapping[str, Any]]:
    if not db.exists():
        raise StoreMissing(db)
    try:
        # To write: the last messages may not be in the index yet.
        with Store(db, program="conv search") as store:
            return [hit.as_json() for hit in islice(hits(store, words), limit)]
    except StoreLocked as locked:
        if locked.owner is not None and locked.owner.url:
            return _ask(locked.owner.url, read_token(db) or "", words, limit)
    except StoreReadOnly:
        pass
    with reading(db) as store:
        return [hit.as_json() for hit in islice(hits(store, words), limit)]


def _ask(url: str, token: str, words: str, limit: int) -> Sequence[Mapping[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"}
    params: dict[str, str | int] = {"q": words, "limit": limit}
    try:
        answer = httpx.get(f"{url}/api/search", params=params, headers=headers, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise SyncTimeout(f"the daemon at {url} was not reached ({type(error).__name__})") from error
    if answer.status_code != httpx.codes.OK:
        raise SyncRefused(f"the daemon at {url} answered {answer.status_code}", answer.status_code)
    found: Sequence[Mapping[str, Any]] = answer.json()["results"]
    return found
