"""What a stranger can repeat does not fill the log, on however many sockets or requests."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from crdt_conv import Store
from syncd.logs.quotas import BURST, KEPT, PER_S, Quotas
from tests.syncd.servers import serving

pytestmark = pytest.mark.anyio


def test_each_kind_and_peer_has_its_own() -> None:
    """One is left out when it comes too often; others are not, and later it is told how many were."""
    quotas = Quotas()
    assert [quotas.take("denied", "a", 0.0) for _ in range(BURST + 2)] == [0] * BURST + [None, None]
    assert quotas.take("denied", "b", 0.0) == 0
    assert quotas.take("turned", "a", 0.0) == 0
    assert quotas.take("denied", "a", PER_S) == 2


def test_it_remembers_so_many() -> None:
    """Peers without number take no memory without bound."""
    quotas = Quotas()
    for number in range(3 * KEPT):
        quotas.take("denied", str(number), 0.0)
    assert len(quotas._quotas) == KEPT


async def test_refusals_are_a_few_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wrong tokens by request and by new sockets, again and again: ten lines, and all are counted."""
    caplog.set_level(logging.INFO, "syncd")
    with Store(tmp_path / "chats.db") as store:
        async with serving(store) as url, httpx.AsyncClient(base_url=url) as http:
            for _ in range(20):
                assert (await http.get("/api/conversations")).status_code == 401
                async with connect(f"{url.replace('http', 'ws')}/sync/c?token=wrong") as socket:
                    await socket.wait_closed()
    lines = [each for each in caplog.records if vars(each).get("event") == "access_denied"]
    assert len(lines) == BURST
