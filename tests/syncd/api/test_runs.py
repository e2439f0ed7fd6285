"""Runs over HTTP: asked for and looked at."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from crdt_conv import Conversation, Store, Target, new_part
from crdt_conv.runs.calls import PENDING, Call
from syncd.answering import CantAnswer

pytestmark = pytest.mark.anyio

PATH = "/api/conversations/c"
TARGET = {"adapter": "llamacpp", "model": "m", "endpoint": None, "params": {"max_tokens": 5}}


@pytest.fixture(autouse=True)
def _conversation(store: Store) -> None:
    store.create(conversation_id="c").append("user", "Where?")


async def test_a_run_is_requested_and_followed(http: httpx.AsyncClient, store: Store) -> None:
    """It is there at its Location, and shows how it goes."""
    asked = await http.post(f"{PATH}/runs", json={"target": TARGET})
    assert (asked.status_code, asked.json()["state"], asked.json()["target"]) == (202, "requested", TARGET)
    store.open("c").runs.claim(asked.json()["id"], "executor", 1)
    shown = await http.get(asked.headers["location"])
    assert (shown.json()["state"], shown.json()["claims"][0]["epoch"]) == ("claimed", 1)


async def test_one_executor_has_a_run(http: httpx.AsyncClient, store: Store) -> None:
    """Others get it when it is given back, with a higher epoch; nobody once it is over."""
    conversation = store.open("c")
    run = conversation.runs.request(Target("llamacpp"))
    path = f"{PATH}/runs/{run.id}/lease"
    first = await http.put(path, json={"owner": "a", "ttl_s": 15})
    assert (first.status_code, first.json()) == (
        200,
        {"epoch": 1, "state_vector": conversation.state_vector.hex()},
    )
    assert (await http.put(path, json={"owner": "a", "ttl_s": 15})).json()["epoch"] == 1
    assert (await http.put(path, json={"owner": "b", "ttl_s": 15})).status_code == 409
    assert (await http.delete(path, params={"owner": "b"})).status_code == 204
    assert (await http.put(path, json={"owner": "b", "ttl_s": 15})).status_code == 409
    await http.delete(path, params={"owner": "a"})
    assert (await http.put(path, json={"owner": "b", "ttl_s": 15})).json()["epoch"] == 2
    conversation.runs.update(run.id, state="complete")
    assert (await http.put(path, json={"owner": "b", "ttl_s": 15})).status_code == 409
    assert (await http.put(path, json={"owner": "b", "ttl_s": 61})).status_code == 422
    assert (await http.put(f"{PATH}/runs/none/lease", json={"owner": "b", "ttl_s": 1})).status_code == 404


async def test_the_conversation_has_a_default(http: httpx.AsyncClient, store: Store) -> None:
    """Without a target it is the document's, if that has one that can be one."""
    missing = await http.post(f"{PATH}/runs")
    assert missing.json()["errors"][0]["pointer"] == "#/target"
    with store.open("c").writing() as document:
        document.put("meta", "target", {"adapter": "a", "model": "m"})
    assert (await http.post(f"{PATH}/runs")).json()["target"]["adapter"] == "a"
    with store.open("c").writing() as document:
        document.put("meta", "target", {"adapter": 5})
    assert (await http.post(f"{PATH}/runs")).json()["errors"][0]["pointer"] == "#/target/adapter"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"target": {}}, "#/target/adapter"),
        ({"target": {"adapter": ""}}, "#/target/adapter"),
        ({"target": {**TARGET, "params": {"n": 2**70}}}, "#/target"),
        ({"target": {**TARGET, "else": 1}}, "#/target/else"),
        ({"target": TARGET, "branch": "no"}, "#/branch"),
    ],
)
async def test_what_is_wrong_is_named(
    http: httpx.AsyncClient, store: Store, body: dict[str, Any], pointer: str
) -> None:
    """A run that can't be is refused with the field."""
    answer = await http.post(f"{PATH}/runs", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert store.open("c").runs.all() == []


async def test_there_must_be_something_to_answer(http: httpx.AsyncClient, store: Store) -> None:
    """An empty conversation asks nothing."""
    store.create(conversation_id="empty")
    answer = await http.post("/api/conversations/empty/runs", json={"target": TARGET})
    assert (answer.status_code, "nothing to answer" in answer.json()["detail"]) == (422, True)


async def test_an_unknown_run_is_not_found(http: httpx.AsyncClient) -> None:
    """404, with a reason."""
    answer = await http.get(f"{PATH}/runs/nobody")
    assert (answer.status_code, "no run" in answer.json()["detail"]) == (404, True)


@pytest.fixture
def waiting(store: Store) -> str:
    """Return a run, a call of which waits for a person."""
    conversation = store.open("c")
    run = conversation.runs.request(Target("a"))
    call = new_part("tool_call", call_id="c1", name="delete", arguments="{}")
    answer = conversation.append("assistant", parts=[call])
    conversation.runs.record(run.id, Call(answer.id, call.id, PENDING, 1))
    return run.id


@pytest.mark.parametrize("approved", [True, False])
async def test_a_call_is_approved_or_not(http: httpx.AsyncClient, waiting: str, *, approved: bool) -> None:
    """The run shows what waits, and then what was said to it; a second word is refused."""
    [shown] = (await http.get(f"{PATH}/runs/{waiting}")).json()["calls"]
    assert (shown["state"], shown["approved"]) == ("pending", None)
    body = {"call": "c1", "approved": approved}
    said = await http.post(f"{PATH}/runs/{waiting}/approvals", json=body)
    assert (said.status_code, said.json()["calls"][0]["approved"]) == (200, approved)
    again = await http.post(f"{PATH}/runs/{waiting}/approvals", json=body)
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (422, "#/call")


class Parrots:
    """Models that say what they are asked for."""

    default = Target("parrot", "grey")
    offered = (default, Target("crow"))

    def tools(self) -> dict[str, Any]:
        return {"tools": [], "servers": [{"name": "cage", "tools": 0, "problem": "it is empty"}]}

    def explain(self, conversation: Conversation, target: Target, branch: str) -> dict[str, Any]:
        if target.adapter != "parrot":
            raise CantAnswer(f"no adapter {target.adapter!r}")
        request = {"method": "POST", "path": "/say", "bytes": 2, "digest": "0" * 64, "body": {}}
        told = {"messages": len(conversation), "left_out": [], "repairs": [], "hidden": [], "reused": {}}
        where = {"adapter": target.adapter, "model": target.model, "branch": branch}
        return {**where, **told, "log": "0" * 64, "tools": [], "request": request}


async def test_a_run_is_asked_of_the_servers_default(
    http: httpx.AsyncClient, app: Starlette, store: Store
) -> None:
    """Without a target of its own, or the conversation's, the server's first model answers."""
    assert (await http.post(f"{PATH}/runs")).status_code == 422
    app.state.answering = Parrots()
    answer = await http.post(f"{PATH}/runs")
    assert answer.status_code == 202
    assert store.open("c").runs[answer.json()["id"]].target == Target("parrot", "grey")


async def test_a_request_is_explained(http: httpx.AsyncClient, app: Starlette) -> None:
    """What the models tell is shown; what they can't is 422, and without models it is 501."""
    path = f"{PATH}/explain"
    assert (await http.get(path, params={"adapter": "parrot"})).status_code == 501
    app.state.answering = Parrots()
    shown = (await http.get(path)).json()
    assert (shown["model"], shown["branch"], shown["messages"]) == ("grey", "main", 1)
    shown = (await http.get(path, params={"adapter": "parrot", "model": "green", "branch": "b"})).json()
    assert (shown["model"], shown["branch"]) == ("green", "b")
    refused = await http.get(path, params={"adapter": "crow"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "no adapter 'crow'")


async def test_the_models_are_listed(http: httpx.AsyncClient, app: Starlette) -> None:
    """To whoever has a token; a server without any says so by an empty list."""
    assert (await http.get("/api/models")).json() == {"models": []}
    app.state.answering = Parrots()
    told = (await http.get("/api/models")).json()["models"]
    assert told == [{"adapter": "parrot", "model": "grey"}, {"adapter": "crow", "model": None}]
    assert (await http.get("/api/models", headers={"Authorization": "Bearer no"})).status_code == 401
