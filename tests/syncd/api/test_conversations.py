"""Conversations over HTTP: listed in pages, made, shown, deleted."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest

from crdt_conv import HiddenField, Store
from syncd.auth import Right
from syncd.view import conversation_json
from tests.syncd.api.conftest import FakeGate

pytestmark = pytest.mark.anyio


async def test_a_conversation_is_made_and_shown(http: httpx.AsyncClient, store: Store) -> None:
    """What is shown is what the command line prints."""
    made = await http.post("/api/conversations", json={"title": "Trip"})
    assert made.status_code == 201
    conversation = store.open(made.json()["id"])
    conversation.append("user", "Where?")
    shown = await http.get(made.headers["Location"])
    assert shown.json() == conversation_json(conversation)
    assert shown.json()["title"] == "Trip"


async def test_the_location_of_a_conversation_is_one_segment(http: httpx.AsyncClient) -> None:
    """An id may hold a slash, a question mark and letters of any alphabet."""
    made = await http.post("/api/conversations", json={"id": "trip/é?"})
    assert made.headers["Location"] == "/api/conversations/trip%2F%C3%A9%3F"
    assert (await http.get(made.headers["Location"])).json()["id"] == "trip/é?"


async def test_hidden_fields_are_shown_where_asked_for(http: httpx.AsyncClient, store: Store) -> None:
    """Bytes come as base64, JSON as it is; without being asked nothing of them is told."""
    conversation = store.create()
    sealed = [
        HiddenField("anthropic", "anthropic", "signature", b"\x00\xff"),
        HiddenField("openai", "openai", "item", {"id": "rs_1"}),
    ]
    conversation.append("assistant", "A tent.", hidden=sealed)
    path = f"/api/conversations/{conversation.id}"
    [message] = (await http.get(path, params={"hidden": "true"})).json()["messages"]
    assert [field.get("data_base64", field.get("data")) for field in message["hidden"]] == [
        "AP8=",
        {"id": "rs_1"},
    ]
    [message] = (await http.get(path)).json()["messages"]
    assert "hidden" not in message
    assert (await http.get(path, params={"hidden": "maybe"})).status_code == 422


async def test_making_one_needs_no_body(http: httpx.AsyncClient) -> None:
    """Everything may be left out."""
    assert (await http.post("/api/conversations")).status_code == 201
    assert (await http.post("/api/conversations", json={})).status_code == 201


async def test_an_id_is_taken_once(http: httpx.AsyncClient, store: Store) -> None:
    """A second conversation of an id is a conflict, and a deleted one's id is gone."""
    assert (await http.post("/api/conversations", json={"id": "c"})).json() == {"id": "c"}
    assert (await http.post("/api/conversations", json={"id": "c"})).status_code == 409
    store.delete("c")
    assert (await http.post("/api/conversations", json={"id": "c"})).status_code == 410


ODD = ["a/b", "a b", "ä€😀", "%2F", "?q#f", "a/messages", "events", "..%", "'\";<>&", "a" * 200, "+", "\\"]


@pytest.mark.parametrize("name", ODD)
async def test_ids_may_be_odd(http: httpx.AsyncClient, store: Store, name: str) -> None:
    """Any printable id is found at its percent-encoded path, and below."""
    assert (await http.post("/api/conversations", json={"id": name})).json() == {"id": name}
    path = f"/api/conversations/{quote(name, safe='')}"
    assert (await http.get(path)).json()["id"] == name
    assert (await http.post(f"{path}/messages", json={"role": "user", "text": "x"})).status_code == 201
    assert (await http.delete(path)).status_code == 204
    assert store.engine.is_deleted(name)


@pytest.mark.parametrize("name", ["a\nb", "\x00", "a" * 201, "", "\ud800", "\u200b"])
async def test_ids_that_can_t_be_are_refused(http: httpx.AsyncClient, store: Store, name: str) -> None:
    """Unprintable, empty and overlong ids are refused with the field, and made nothing."""
    # As ASCII: a client's own encoder would refuse half a surrogate pair.
    body, headers = json.dumps({"id": name}), {"Content-Type": "application/json"}
    answer = await http.post("/api/conversations", content=body, headers=headers)
    assert (answer.status_code, store.list()) == (400 if name == "\ud800" else 422, [])


async def test_a_path_that_is_no_utf_8_is_refused(http: httpx.AsyncClient) -> None:
    """Nothing is there; it is no error of the server."""
    assert (await http.get("/api/conversations/%ff%fe")).status_code == 404


async def test_pages_show_everything_once(http: httpx.AsyncClient, store: Store) -> None:
    """Following the cursor shows each conversation once, the latest first; the last page has no next."""
    for number in range(7):
        store.create(f"C{number}")
    seen, answer = [], await http.get("/api/conversations?limit=3")
    pages = 1
    while True:
        seen += [entry["id"] for entry in answer.json()["conversations"]]
        following = answer.json()["next"]
        if following is None:
            break
        assert answer.links["next"]["url"] == f"?limit=3&cursor={following}"
        answer = await http.get("/api/conversations", params={"limit": 3, "cursor": following})
        pages += 1
    assert seen == [info.id for info in store.list()]
    assert (len(seen), pages, "link" in answer.headers) == (7, 3, False)


async def test_a_full_last_page_has_no_next(http: httpx.AsyncClient, store: Store) -> None:
    """A cursor promises something behind it."""
    for _ in range(4):
        store.create()
    answer = await http.get("/api/conversations?limit=4")
    assert (len(answer.json()["conversations"]), answer.json()["next"]) == (4, None)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "limit=1.5",
        "limit=%20",
        "cursor=x",
        "cursor=W10",
        "cursor=",
        "limit=٣",
        "limit=99999999999999999999",
        "cursor=WzEsMl0",
        "cursor=%F0%9F%98%80",
    ],
)
async def test_parameters_are_checked(http: httpx.AsyncClient, query: str) -> None:
    """What is no number or no cursor of ours is refused by its name."""
    answer = await http.get(f"/api/conversations?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == query.partition("=")[0]


async def test_an_id_that_may_be_written_can_be_made(
    http: httpx.AsyncClient, store: Store, gate: FakeGate
) -> None:
    """Who may write under some ids makes conversations of these, and of no others."""
    gate.rights["ann"] = {"ann-1": {Right.WRITE}, "ann-2": {Right.READ}}
    http.headers["Authorization"] = "Bearer ann"
    for body, status in (({"id": "ann-1"}, 201), ({"id": "ann-2"}, 403), ({"id": "bob-1"}, 403), ({}, 403)):
        assert (await http.post("/api/conversations", json=body)).status_code == status
    assert [info.id for info in store.list()] == ["ann-1"]


async def test_who_is_known_and_may_nothing_sees_nothing(
    http: httpx.AsyncClient, store: Store, gate: FakeGate
) -> None:
    """A grant without rights is none, in lists and in search."""
    store.create("Trip")
    gate.rights["ann"] = {None: set(), "*": set()}
    http.headers["Authorization"] = "Bearer ann"
    assert (await http.get("/api/conversations")).json()["conversations"] == []
    assert (await http.get("/api/search?q=trip")).json()["results"] == []


async def test_only_what_may_be_read_is_listed(http: httpx.AsyncClient, store: Store, gate: FakeGate) -> None:
    """Others' conversations are not even counted: pages are full of one's own."""
    mine = [store.create(conversation_id=f"mine{n}").id for n in range(3)]
    for number in range(20):
        store.create(conversation_id=f"other{number}")
    gate.rights["ann"] = {name: {Right.READ} for name in mine}
    http.headers["Authorization"] = "Bearer ann"
    listed = await http.get("/api/conversations?limit=2")
    rest = await http.get("/api/conversations", params={"cursor": listed.json()["next"]})
    both = [entry["id"] for answer in (listed, rest) for entry in answer.json()["conversations"]]
    assert sorted(both) == mine
    # Once in each request.
    assert max(gate.asked.count(name) for name in mine) <= 2


async def test_the_list_says_what_is_archived(http: httpx.AsyncClient, store: Store) -> None:
    """Whoever archived it, also one that nobody opened here; search says it too."""
    with Store(":memory:") as elsewhere:
        away = elsewhere.create("Trip away")
        away.archive()
        store.join(away.id).receive(away.encode())
    here = store.create("Trip here")
    listed = (await http.get("/api/conversations")).json()["conversations"]
    assert {entry["id"]: entry["archived"] for entry in listed} == {away.id: True, here.id: False}
    found = (await http.get("/api/search?q=trip")).json()["results"]
    assert {hit["conversation"]["id"]: hit["conversation"]["archived"] for hit in found} == {
        away.id: True,
        here.id: False,
    }


async def test_a_branch_is_shown(http: httpx.AsyncClient, store: Store) -> None:
    """Another branch has its own log; an unknown one is not found."""
    conversation = store.create()
    first = conversation.append("user", "one")
    conversation.edit(first.id, "two", branch="other/x")
    shown = await http.get(f"/api/conversations/{conversation.id}", params={"branch": "other/x"})
    assert [message["text"] for message in shown.json()["messages"]] == ["two"]
    missing = await http.get(f"/api/conversations/{conversation.id}", params={"branch": "no"})
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


async def test_deleted_is_gone(http: httpx.AsyncClient, store: Store) -> None:
    """Every operation says 410 from then on, the list and search leave it out, deleting again too."""
    conversation = store.create("Trip")
    conversation.append("user", "seaside")
    path = f"/api/conversations/{conversation.id}"
    assert (await http.delete(path)).status_code == 204
    for answer in (
        await http.get(path),
        await http.delete(path),
        await http.post(f"{path}/messages", json={"role": "user", "text": "x"}),
        await http.post(f"{path}/merge", json={"from": "a"}),
        await http.post(f"{path}/runs", json={"target": {"adapter": "a"}}),
        await http.get(f"{path}/runs/r"),
        await http.get(f"{path}/events"),
        await http.get(f"{path}/update"),
    ):
        assert answer.status_code == 410
    assert (await http.get("/api/conversations")).json()["conversations"] == []
    assert (await http.get("/api/search?q=seaside")).json()["results"] == []


async def test_what_was_never_there_is_not_found(http: httpx.AsyncClient) -> None:
    """404, not 410."""
    assert (await http.delete("/api/conversations/nobody")).status_code == 404
    assert (await http.get("/api/conversations/nobody")).status_code == 404
