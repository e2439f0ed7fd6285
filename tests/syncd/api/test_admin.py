"""Upkeep over HTTP: how far it is, what came of it, one at a time, and that a client can end it."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from crdt_conv import Store, StoreFull
from crdt_conv.engine import ConversationInfo
from syncd import api
from tests.syncd.api.conftest import AUTHORIZED, check, served
from tests.syncd.servers import until

pytestmark = pytest.mark.anyio

PATH = "/api/admin/compact"
LINE = {"$ref": "#/components/schemas/Compaction"}


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the lines of an answer, each as it is described."""
    lines = [json.loads(line) for line in answer.text.splitlines()]
    for line in lines:
        check(LINE, line)
    return lines


class Gated(threading.Event):
    """Holds the compaction where it looks for what there is to do, until it is set."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.is_reached = False
        listed = store.list

        def waiting() -> Sequence[ConversationInfo]:
            self.is_reached = True
            assert self.wait(20)
            return listed()

        monkeypatch.setattr(store, "list", waiting)


async def test_a_compaction_says_what_came_of_each(http: httpx.AsyncClient, store: Store) -> None:
    """Logs become snapshots; the last line has what they took before and take now."""
    conversation = store.create("Trip", conversation_id="c")
    for number in range(200):
        conversation.append("user", f"message {number}")
    answer = await http.post(PATH)
    first, *_, last = lines_of(answer)
    assert first == {"done": 0, "total": 0}
    assert [(each["id"], each["reason"]) for each in last["conversations"]] == [("c", "")]
    assert 0 < last["conversations"][0]["after"] < last["conversations"][0]["before"]
    assert store.engine.size(conversation.id).rows == 0


async def test_two_at_once_are_one_too_many(
    app: Starlette, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is told so, and may ask again when the first is done."""
    gate = Gated(store, monkeypatch)
    async with (
        served(app) as url,
        httpx.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=20) as http,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(http.post, PATH)
        await until(lambda: gate.is_reached)
        assert (await http.post(PATH)).status_code == 409
        gate.set()
        await until(lambda: not app.state.is_compacting)
        assert (await http.post(PATH)).status_code == 200


async def test_a_client_that_goes_away_ends_it(
    app: Starlette, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not compacted yet stays as it is."""
    for name in "abc":
        store.create(name, conversation_id=name)
    gate = Gated(store, monkeypatch)
    async with served(app) as url, httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as http:
        async with http.stream("POST", PATH) as answer:
            assert answer.status_code == 200
            await until(lambda: gate.is_reached)
        # The server has read to the end of the connection once another one is answered behind it.
        await http.get("/openapi.json")
        gate.set()
        await until(lambda: not app.state.is_compacting)
    assert [store.engine.size(info.id).rows for info in store.list()] == [1, 1, 1]


async def test_the_end_of_the_server_ends_it(app: Starlette, http: httpx.AsyncClient, store: Store) -> None:
    """It says so, and nothing is compacted any more."""
    store.create("Trip", conversation_id="c")
    api.end_streams(app)
    last = lines_of(await http.post(PATH))[-1]
    assert last["problem"]["status"] == 503
    assert store.engine.size(store.list()[0].id).rows == 1


async def test_a_full_disk_is_told(
    http: httpx.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line says what is wrong, as the API says it elsewhere."""

    def full(*_: object, **__: object) -> None:
        raise StoreFull("secret/path: full")

    monkeypatch.setattr(store, "compact_logs", full)
    last = lines_of(await http.post(PATH))[-1]
    assert last["problem"]["status"] == 503
    assert "full" in last["problem"]["detail"]
    assert "secret" not in last["problem"]["detail"]
