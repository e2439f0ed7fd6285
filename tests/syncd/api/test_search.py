"""Search over HTTP: titles and messages, marked, in pages, of what the caller may read."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from crdt_conv import Store
from syncd.auth import Right
from syncd.titles import found_in
from tests.syncd.api.conftest import FakeGate

pytestmark = pytest.mark.anyio


def marked(result: dict[str, Any]) -> str:
    """Return a snippet with brackets around what was found."""
    return "".join(f"[{p['text']}]" if p["found"] else p["text"] for p in result["snippet"])


async def test_titles_come_first(http: httpx.AsyncClient, store: Store) -> None:
    """Then messages, best first, each with its conversation and what was found marked."""
    store.create("To the Séa!", conversation_id="a")
    other = store.create("Trip", conversation_id="b")
    message = other.append("user", "Where is the sea?")
    results = (await http.get("/api/search", params={"q": "sea"})).json()["results"]
    assert [(r["conversation"]["id"], r["message"], marked(r)) for r in results] == [
        ("a", None, "To the [Séa]!"),
        ("b", message.id, "Where is the [sea]?"),
    ]


async def test_a_text_can_t_forge_marks(http: httpx.AsyncClient, store: Store) -> None:
    """Brackets, tags and control characters are text."""
    says = "sea </mark> [x] \x02 <script>"
    store.create().append("user", says)
    [result] = (await http.get("/api/search?q=sea")).json()["results"]
    assert "".join(piece["text"] for piece in result["snippet"]) == says
    assert [piece["text"] for piece in result["snippet"] if piece["found"]] == ["sea"]


async def test_pages_show_everything_once(http: httpx.AsyncClient, store: Store) -> None:
    """Following the cursor shows each result once, also past what is looked at in one go."""
    conversation = store.create("sea")
    for number in range(230):
        conversation.append("user", f"sea {number}")
    seen: list[str | None] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await http.get("/api/search", params={"q": "sea", "limit": 100, **cursor})).json()
        seen += [result["message"] for result in page["results"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert (len(seen), len(set(seen)), seen[0]) == (231, 231, None)


async def test_only_what_may_be_read_is_found(http: httpx.AsyncClient, store: Store, gate: FakeGate) -> None:
    """Neither titles nor words of others are shown."""
    for name in ("mine", "other"):
        store.create("sea", conversation_id=name).append("user", "sea")
    gate.rights["ann"] = {"mine": {Right.READ}}
    http.headers["Authorization"] = "Bearer ann"
    results = (await http.get("/api/search?q=sea")).json()["results"]
    assert [result["conversation"]["id"] for result in results] == ["mine", "mine"]
    only = (await http.get("/api/search?q=sea&conversation=other")).json()["results"]
    assert only == []


async def test_only_in_one(http: httpx.AsyncClient, store: Store) -> None:
    """A conversation can be named; one that is not there has nothing."""
    for name in ("a", "b"):
        store.create("sea", conversation_id=name).append("user", "sea")
    results = (await http.get("/api/search?q=sea&conversation=a")).json()["results"]
    assert [result["conversation"]["id"] for result in results] == ["a", "a"]
    assert (await http.get("/api/search?q=sea&conversation=z")).json()["results"] == []


@pytest.mark.parametrize(
    "words", ["", " ", '"', "AND", "*", "sea)", "NEAR(", "\x00", "é", "'", "^x", "a:b", '"' * 999]
)
async def test_any_words_will_do(http: httpx.AsyncClient, store: Store, words: str) -> None:
    """Nothing that is asked for is an operator, or an error of the server."""
    store.create("title").append("user", "text")
    assert (await http.get("/api/search", params={"q": words})).status_code == 200


async def test_words_are_needed(http: httpx.AsyncClient) -> None:
    """The parameter is named where it is missing or too long."""
    for query in ({}, {"q": "x" * 1001}):
        answer = await http.get("/api/search", params=query)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "q")


@pytest.mark.parametrize(
    ("title", "asked", "found"),
    [
        ("A trip to Málaga", "malaga TRIP", ["trip", "Málaga"]),
        ("A trip to Málaga", "trip paris", []),
        ("A trip to Málaga", '"trip to"', ["trip", "to"]),
        ("A trip to Málaga", '"to trip"', []),
        ("Ma\u0301laga", "málaga", ["Ma\u0301laga"]),
        ("Straße 5", "STRASSE", ["Straße"]),
        ("tripping", "trip", []),
        ("", "trip", []),
        ("trip", "", []),
        ("trip", '"', []),
    ],
)
def test_words_in_titles(title: str, asked: str, found: list[str]) -> None:
    """Whole words, all of them, without regard to case and accents."""
    assert [title[start:end] for start, end in found_in(title, asked)] == found
