"""A thousand strangers at the door of the real daemon, and two who work meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from crdt_conv import Conversation
from syncd.client import SyncClient
from syncd.protocol import CloseCode
from tests.e2e.programs import TOKEN, Daemon, daemon
from tests.hostile import (
    HALF_A_FRAME,
    HALF_A_REQUEST,
    NOBODY,
    Hostile,
    connect,
    drip,
    hang_up,
    open_files,
    was_let_go,
)
from tests.replicas import replica
from tests.syncd.servers import until

pytestmark = pytest.mark.anyio

COUNT = 1000
EACH = 30


async def metrics(server: Daemon) -> dict[str, float]:
    """Return what the daemon counts; sockets that it closed by their code."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    samples = [s for f in text_string_to_metric_families(answer.text) for s in f.samples]
    return {sample.name + sample.labels.get("code", ""): sample.value for sample in samples}


@asynccontextmanager
async def pair(url: str) -> AsyncIterator[list[tuple[SyncClient, Conversation]]]:
    """Yield two clients, each with its replica of one conversation."""
    async with SyncClient(url, token=TOKEN) as first, SyncClient(url, token=TOKEN) as second:
        both = [(first, replica("c", "ann")), (second, replica("c", "bob"))]
        for client, conversation in both:
            await client.sync(conversation, timeout_s=20)
        yield both


async def exchange(both: list[tuple[SyncClient, Conversation]], until_each_has: int) -> None:
    """Have both write, and wait until both have everything."""
    for number in range(EACH):
        for client, conversation in both:
            conversation.append("user", str(number))
            if number % 10 == 9:
                await client.sync(conversation, timeout_s=20)
    await until(lambda: all(len(mine.log().messages) == until_each_has for _, mine in both))


@asynccontextmanager
async def besieged(server: Daemon) -> AsyncIterator[list[Hostile]]:
    """Yield connections of all kinds, which drip on, and end them."""
    kinds = cycle((HALF_A_REQUEST, NOBODY, HALF_A_FRAME))
    strangers = await connect(server.port, islice(kinds, COUNT))
    try:
        async with anyio.create_task_group() as tasks:
            upgraded = [one for one in strangers if one.kind is not HALF_A_REQUEST]
            await until(lambda: all(one.is_upgraded for one in upgraded))
            tasks.start_soon(drip, strangers)
            yield strangers
            tasks.cancel_scope.cancel()
    finally:
        hang_up(strangers)


async def test_strangers_hurt_nobody_and_are_let_go(tmp_path: Path) -> None:
    """While a thousand connections lead nowhere a pair gets all its updates; then only the pair is left."""
    with open_files(4 * COUNT), daemon(tmp_path / "daemon.db", "--no-executor") as server:
        async with pair(server.url) as both, besieged(server) as strangers:
            met, sockets = await metrics(server), sum(one.is_upgraded for one in strangers)
            assert (sockets, met["syncd_sockets"], met["syncd_members"]) == (666, 668, 2)
            await exchange(both, 2 * EACH)
            with anyio.fail_after(15):
                await until(lambda: all(map(was_let_go, strangers)))
            left = await metrics(server)
            assert (left["syncd_sockets"], left["syncd_members"]) == (2, 2)
            assert left[f"syncd_sockets_closed_total{CloseCode.TIMEOUT}"] == sockets
            await exchange(both, 4 * EACH)
