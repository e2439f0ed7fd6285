"""How long somebody may be connected who says nothing that leads anywhere."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest

from crdt_conv import Store
from syncd.client import SyncClient
from syncd.limits import Limits
from tests.hostile import (
    HALF_A_BODY,
    HALF_A_FRAME,
    HALF_A_REQUEST,
    HALF_A_SECOND_REQUEST,
    NO_REQUEST,
    NOBODY,
    Kind,
    connect,
    drip,
    hang_up,
    was_let_go,
)
from tests.replicas import replica
from tests.syncd.servers import TOKEN, serving, until

pytestmark = pytest.mark.anyio

REQUESTS = {
    "none": NO_REQUEST,
    "half of the first": HALF_A_REQUEST,
    "half of the second": HALF_A_SECOND_REQUEST,
    "half of a body that nobody wants": HALF_A_BODY,
}
BRIEF = Limits(unauthenticated_s=0.3)


@pytest.mark.parametrize("kind", REQUESTS.values(), ids=REQUESTS.keys())
async def test_a_request_without_an_end_is_ended(tmp_path: Path, kind: Kind) -> None:
    """Whoever sends a byte now and then is let go all the same, behind an answered request too."""
    with Store(tmp_path / "chats.db") as store:
        async with serving(store, limits=BRIEF) as url, anyio.create_task_group() as tasks:
            [stranger] = await connect(int(url.rpartition(":")[2]), [kind])
            tasks.start_soon(drip, [stranger], 0.05)
            with anyio.fail_after(4):
                await until(lambda: stranger.is_gone)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [NOBODY, HALF_A_FRAME], ids=["silent", "half of a frame"])
async def test_a_socket_that_says_nothing_is_closed(tmp_path: Path, kind: Kind) -> None:
    """Who was let into nothing hears 4508, however many bytes of a frame it sends."""
    with Store(tmp_path / "chats.db") as store:
        async with serving(store, limits=BRIEF) as url, anyio.create_task_group() as tasks:
            [stranger] = await connect(int(url.rpartition(":")[2]), [kind])
            tasks.start_soon(drip, [stranger], 0.05)
            with anyio.fail_after(4):
                await until(lambda: was_let_go(stranger))
            tasks.cancel_scope.cancel()
        hang_up([stranger])


@pytest.mark.parametrize("kind", [HALF_A_REQUEST, NOBODY], ids=["requests", "sockets"])
async def test_too_many_strangers_end_the_oldest(tmp_path: Path, kind: Kind) -> None:
    """Of seven, with room for four, the first three go at once; a client that is known does not count."""
    limits = Limits(unauthenticated=4, unauthenticated_s=60)
    with Store(tmp_path / "chats.db") as store:
        async with serving(store, limits=limits) as url, SyncClient(url, token=TOKEN) as client:
            await client.sync(conversation := replica(), timeout_s=10)
            strangers = [(await connect(int(url.rpartition(":")[2]), [kind]))[0] for _ in range(7)]
            with anyio.fail_after(10):
                await until(lambda: sum(map(was_let_go, strangers)) == 3)
            assert all(map(was_let_go, strangers[:3]))
            conversation.append("user", "still here")
            await client.sync(conversation, timeout_s=10)
            assert client.status(conversation).state == "in sync"
        hang_up(strangers)


async def test_one_request_after_another_is_no_stranger(tmp_path: Path) -> None:
    """A client that uses its connection again keeps it for longer than a stranger would."""
    with Store(tmp_path / "chats.db") as store:
        async with serving(store, limits=BRIEF) as url, httpx.AsyncClient() as client:
            ports = set[int]()
            for _ in range(6):
                answer = await client.get(f"{url}/healthz")
                ports.add(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
                await anyio.sleep(0.1)
            assert len(ports) == 1


async def test_who_was_let_in_stays(tmp_path: Path) -> None:
    """A client that says nothing for longer than a stranger may is not closed once it is known."""
    with Store(tmp_path / "chats.db") as store:
        async with serving(store, limits=BRIEF) as url, SyncClient(url, token=TOKEN) as client:
            await client.sync(replica(), timeout_s=10)
            await anyio.sleep(2 * BRIEF.unauthenticated_s)
            async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
                told = (await http.get(f"{url}/metrics")).text
            assert "syncd_sockets 1.0" in told
            assert "syncd_sockets_closed_total{" not in told
