"""What Prometheus is told, over HTTP, of a daemon that was used."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from crdt_conv import Store
from syncd.client import SyncClient
from tests.replicas import replica
from tests.syncd.servers import TOKEN, serving

pytestmark = pytest.mark.anyio


async def test_metrics_tell_what_happened(tmp_path: Path) -> None:
    """Updates, commits, rooms and sockets are counted; a name for everything, and no content."""
    conversation = replica()
    with Store(tmp_path / "chats.db") as store:
        async with serving(store) as url, SyncClient(url, token=TOKEN) as client, httpx.AsyncClient() as http:
            await client.sync(conversation, timeout_s=10)
            conversation.append("user", "very private")
            await client.sync(conversation, timeout_s=10)
            assert (await http.get(f"{url}/metrics")).status_code == 401
            answer = await http.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    told = {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert (told["syncd_up"], told["syncd_rooms"], told["syncd_sockets"], told["syncd_members"]) == (
        1,
        1,
        1,
        1,
    )
    assert told["syncd_updates_committed_total"] == told["syncd_rows_committed_total"] == 1
    assert told["syncd_commit_seconds_count"] == 1
    assert 0 < told["syncd_commit_seconds_sum"] < 60
    assert told["syncd_uncommitted_updates"] == told["syncd_lagging_sockets"] == 0
    assert "private" not in answer.text
