"""``conv sync --watch`` with more conversations than stay open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from crdt_conv import Store
from syncd.cli import watching
from syncd.cli.watching import Watch
from syncd.client import SyncClient
from syncd.client.remote import Remote
from tests.replicas import texts
from tests.syncd.servers import TOKEN, serving, until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "OPEN", 3)
    monkeypatch.setattr(watching, "POLL_S", 0.01)


@asynccontextmanager
async def watched(
    there: Store, here: Store, listed: Callable[[], Sequence[str]]
) -> AsyncIterator[tuple[Watch, SyncClient]]:
    """Keep a store in sync with one that is served, as far as ``listed`` and events tell of it."""

    async def names() -> list[str]:
        return [*listed()]

    async with (
        serving(there) as url,
        SyncClient(url, token=TOKEN) as client,
        Remote(url, TOKEN) as remote,
        anyio.create_task_group() as tasks,
    ):
        watch = Watch(here, client, names)
        tasks.start_soon(watch.run, remote)
        yield watch, client
        tasks.cancel_scope.cancel()


def said(store: Store) -> dict[str, list[str]]:
    """Return what every conversation of a store says."""
    return {info.id: texts(store.open(info.id).log().messages) for info in store.list()}


async def test_all_are_brought_in_sync_though_few_stay_open() -> None:
    """Also those that don't stay open; and what happens in one of these later comes, too."""
    with Store(":memory:") as there, Store(":memory:") as here:
        for number in range(8):
            there.create(conversation_id=f"c{number}").append("user", f"{number}")
        names = [info.id for info in there.list()]
        asked: list[Sequence[str]] = []

        def listed() -> Sequence[str]:
            """Return all of them once: what comes of the others later is told by events alone."""
            asked.append(names[:3] if asked else names)
            return asked[-1]

        async with watched(there, here, listed) as (watch, client):
            await until(lambda: len(asked) > 1)
            await until(lambda: said(here) == {f"c{number}": [f"{number}"] for number in range(8)})
            await until(lambda: len(client.statuses) == 3)
            closed = next(name for name in names if name not in client.statuses)
            there.open(closed).append("user", "later")
            await until(lambda: said(here)[closed][-1:] == ["later"])
            await until(lambda: len(client.statuses) == 3)
            assert watch.conversations[0].id == closed


async def test_what_is_refused_stays_in_sight() -> None:
    """Of a conversation that was deleted there the watch says so, and goes on with the others."""
    with Store(":memory:") as there, Store(":memory:") as here:
        for number in range(5):
            there.create(conversation_id=f"c{number}").append("user", f"{number}")
        names: list[str] = [info.id for info in there.list()]
        there.delete(names[-1])
        async with watched(there, here, lambda: names) as (_, client):
            await until(lambda: len(said(here)) == 4)
            await until(lambda: names[-1] in client.statuses)
            assert client.statuses[names[-1]].state == "refused"
            names.append("new")
            there.create(conversation_id="new").append("user", "more")
            await until(lambda: said(here).get("new") == ["more"])
