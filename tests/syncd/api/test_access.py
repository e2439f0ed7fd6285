"""Who may do what over HTTP, and how everybody else is refused."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from crdt_conv import Store, StoreCorrupt, StoreError, StoreFull
from syncd import api
from syncd.api.dispatch import Api
from syncd.api.table import OPERATIONS
from syncd.auth import AccessDenied, Right
from syncd.rooms.follower import Follower
from tests.syncd.api.conftest import FakeGate

pytestmark = pytest.mark.anyio

C = "/api/conversations/c"
BLOB = f"/api/blobs/{'0' * 64}"
# What each operation needs, written by hand; None: only to be known.
NEEDS: list[tuple[str, str, Any, Right | None]] = [
    ("GET", "/api/conversations", None, None),
    ("POST", "/api/conversations", {}, Right.WRITE),
    ("GET", C, None, Right.READ),
    ("DELETE", C, None, Right.ADMIN),
    ("POST", f"{C}/messages", {"role": "user", "text": "x"}, Right.WRITE),
    ("POST", f"{C}/merge", {"from": "b"}, Right.WRITE),
    ("POST", f"{C}/runs", {"target": {"adapter": "a"}}, Right.RUN),
    ("GET", f"{C}/runs/r", None, Right.READ),
    ("POST", f"{C}/runs/r/approvals", {"call": "c", "approved": True}, Right.RUN),
    ("PUT", f"{C}/runs/r/lease", {"owner": "o", "ttl_s": 15}, Right.RUN),
    ("DELETE", f"{C}/runs/r/lease?owner=o", None, Right.RUN),
    ("HEAD", f"{C}/events", None, Right.READ),
    ("HEAD", "/api/events", None, None),
    ("GET", f"{C}/update", None, Right.READ),
    ("GET", f"{C}/explain?adapter=a", None, Right.READ),
    ("GET", "/api/models", None, None),
    ("PUT", BLOB, None, Right.WRITE),
    ("GET", BLOB, None, Right.READ),
    ("GET", "/api/search?q=x", None, None),
    ("POST", "/api/admin/compact", None, Right.ADMIN),
    ("GET", "/api/admin/tools", None, Right.ADMIN),
]
IMPLIED = {
    Right.READ: set(Right),
    Right.WRITE: {Right.WRITE, Right.ADMIN},
    Right.RUN: {Right.RUN, Right.ADMIN},
}


def test_every_operation_stands_here() -> None:
    """An operation that nobody thought about would be found missing."""
    assert len(NEEDS) == len(OPERATIONS)


@pytest.mark.parametrize(("method", "path", "body"), [need[:3] for need in NEEDS])
@pytest.mark.parametrize("token", [None, "wrong"])
async def test_without_a_token_nobody_gets_in(
    app: Starlette, store: Store, method: str, path: str, body: Any, token: str | None
) -> None:
    """401 and how to show one, before anything is looked at; the store is as it was."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
        answer = await http.request(method, path, json=body, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"], store.list()) == (401, "Bearer", [])


@pytest.mark.parametrize(("method", "path", "body", "right"), NEEDS)
@pytest.mark.parametrize("held", list(Right))
async def test_each_right_opens_what_it_should(
    http: httpx.AsyncClient,
    store: Store,
    gate: FakeGate,
    method: str,
    path: str,
    body: Any,
    right: Right | None,
    held: Right,
) -> None:
    """One right more or less decides between 403 and an answer."""
    store.create(conversation_id="c").append("user", "x")
    gate.rights["ann"] = {None: {held}, "*": {held}}
    http.headers["Authorization"] = "Bearer ann"
    answer = await http.request(method, path, json=body)
    is_enough = right is None or held in IMPLIED.get(right, {Right.ADMIN})
    assert (answer.status_code != 403) == is_enough
    # 501: nothing is explained where there are no adapters.
    assert answer.status_code < 500 or answer.status_code == 501


async def test_a_right_elsewhere_opens_nothing_here(
    http: httpx.AsyncClient, store: Store, gate: FakeGate
) -> None:
    """Whether a conversation is there at all is not told either."""
    store.create(conversation_id="c")
    gate.rights["ann"] = {"d": set(Right)}
    http.headers["Authorization"] = "Bearer ann"
    here, nowhere = await http.get(C), await http.get("/api/conversations/nobody")
    assert (here.status_code, nowhere.status_code, here.json()) == (403, 403, nowhere.json())


async def test_no_body_is_read_of_who_is_refused(app: Starlette) -> None:
    """Not one chunk of it."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/conversations",
        "raw_path": b"/api/conversations",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 401


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AccessDenied("no", 4401), 401),
        (AccessDenied("no", 4403), 403),
        (AccessDenied("no", 4429), 429),
        (AccessDenied("later", 1013), 503),
    ],
)
@pytest.mark.parametrize("path", [C, "/api/conversations"])
async def test_how_the_gate_says_no(
    http: httpx.AsyncClient,
    gate: FakeGate,
    monkeypatch: pytest.MonkeyPatch,
    error: AccessDenied,
    status: int,
    path: str,
) -> None:
    """Codes of sockets become statuses; who has no right in the whole server still sees an empty list."""

    async def admit(*_: object) -> Any:
        raise error

    monkeypatch.setattr(gate, "admit", admit)
    answer = await http.get(path)
    if path == "/api/conversations" and status == 403:
        assert answer.json()["conversations"] == []
        return
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status in {429, 503})


async def test_a_gate_that_hangs_refuses(
    http: httpx.AsyncClient, gate: FakeGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever, and nobody gets in."""
    monkeypatch.setattr("syncd.api.call.GATE_S", 0.01)
    monkeypatch.setattr(gate, "admit", lambda *_: anyio.sleep_forever())
    assert (await http.get(C)).status_code == 503


# Methods and paths


@pytest.mark.parametrize(
    "path", ["/api/nothing", "/api/conversations/", "/api/conversations/c/", "/nowhere", "/api//"]
)
async def test_unknown_paths_are_problems(http: httpx.AsyncClient, path: str) -> None:
    """404 in the same form as everything else."""
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["status"] == 404


async def test_other_methods_are_refused(http: httpx.AsyncClient) -> None:
    """405 with those that there are."""
    answer = await http.patch(C)
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await http.request("BREW", "/api/conversations")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_options_says_what_there_is(app: Starlette) -> None:
    """Without a token: it says nothing that the description does not."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
        answer = await http.options(f"{C}/messages")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "OPTIONS, POST", b"")


async def test_a_head_is_a_get_without_its_body(http: httpx.AsyncClient, store: Store) -> None:
    """The same headers, nothing behind them."""
    store.create(conversation_id="c")
    head, got = await http.head(C), await http.get(C)
    assert (head.status_code, head.content, head.headers) == (200, b"", got.headers)


async def test_no_body_goes_out_for_a_head(app: Starlette, store: Store) -> None:
    """Not even to a server that would pass it on."""
    store.create(conversation_id="c")
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "HEAD",
        "path": "/api/conversations/c",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer let me in")],
    }
    await app(scope, receive, send)
    assert (sent[0]["status"], b"".join(message["body"] for message in sent[1:])) == (200, b"")


async def test_answers_stay_out_of_caches(http: httpx.AsyncClient, store: Store) -> None:
    """What conversations say is for who asked."""
    store.create(conversation_id="c")
    for path in (C, "/api/conversations", f"{C}/update", "/api/search?q=x", "/api/nothing"):
        assert (await http.get(path)).headers["cache-control"] == "no-store"


# Errors


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (StoreFull("/secret/path: full"), 503, "60"),
        (StoreError("/secret/path: busy"), 503, "5"),
        (StoreCorrupt("/secret/path: damaged"), 500, None),
        (RuntimeError("secret text"), 500, None),
        (RecursionError("secret"), 500, None),
    ],
)
async def test_no_error_says_too_much(
    http: httpx.AsyncClient,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    retry: str | None,
) -> None:
    """What goes wrong inside is a problem without a traceback, a path or a text; the log has its kind."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    store.create(conversation_id="c")
    monkeypatch.setattr(store, "open", fail)
    with caplog.at_level(logging.ERROR, logger="syncd"):
        answer = await http.post(f"{C}/messages", json={"role": "user", "text": "x"})
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry)
    assert ("secret" in answer.text, "Traceback" in answer.text, bool(caplog.records)) == (False, False, True)
    assert "secret text" not in caplog.text


async def test_what_a_stranger_wrote_is_no_error(http: httpx.AsyncClient, store: Store) -> None:
    """A document may hold numbers that JSON has no word for; it is shown all the same."""
    conversation = store.create(conversation_id="c")
    message = conversation.append("assistant", "x", usage={"n": 1})
    with conversation.writing() as document:
        entry = document.entry("messages", message.id)
        assert entry is not None
        entry["usage"] = {"n": float("nan"), "m": float("inf")}
    [shown] = (await http.get(C)).json()["messages"]
    assert shown["usage"] == {"n": None, "m": None}


async def test_it_can_be_mounted_below_a_path(store: Store, gate: FakeGate) -> None:
    """A chat backend mounts the application beside its own routes; odd ids are found there, too."""
    inner = Starlette(routes=api.routes())
    inner.state.hub, inner.state.gate = SimpleNamespace(store=store, follower=Follower(store)), gate
    outer = Starlette()
    outer.mount("/ch at", inner)
    store.create(conversation_id="a/b")
    transport = httpx.ASGITransport(outer)
    headers = {"Authorization": "Bearer let me in"}
    async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as http:
        assert (await http.get("/ch%20at/api/conversations/a%2Fb")).json()["id"] == "a/b"


async def test_a_server_need_not_tell_the_raw_path(app: Starlette, store: Store) -> None:
    """``raw_path`` is optional in ASGI: then the decoded path will do."""
    store.create(conversation_id="a b")
    transport = httpx.ASGITransport(_without_raw_path(app))
    headers = {"Authorization": "Bearer let me in"}
    async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as http:
        assert (await http.get("/api/conversations/a%20b")).json()["id"] == "a b"


def _without_raw_path(app: Starlette) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await app({key: value for key, value in scope.items() if key != "raw_path"}, receive, send)

    return wrapped


async def test_a_reader_that_is_stuck_is_given_up(
    app: Starlette, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads nothing holds an answer only so long."""
    monkeypatch.setattr("syncd.api.dispatch.SEND_S", 0.01)
    store.create(conversation_id="c")

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        await anyio.sleep_forever()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/conversations/c",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer let me in")],
        "app": app,
    }
    with anyio.fail_after(5):
        await Api(OPERATIONS)(scope, receive, send)
