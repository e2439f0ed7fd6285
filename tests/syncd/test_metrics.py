"""What Prometheus is told, over HTTP, of a daemon that was used."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from crdt_conv import Store
from syncd.auth import TokenGate
from syncd.client import SyncClient
from syncd.hub import Hub
from syncd.metrics import exposition
from syncd.sockets.wire import Outgoing
from tests.replicas import replica
from tests.syncd.peers.daemons import node
from tests.syncd.servers import TOKEN, serving, until

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


async def test_peers_have_a_section(tmp_path: Path) -> None:
    """For each peer one state, what waits for it, and what moved: under its URL, and no token."""
    async with node(tmp_path / "1.db") as there, node(tmp_path / "0.db", there.url) as here:
        here.store.create(conversation_id="c").append("user", "very private")
        await until(lambda: there.texts() == ["very private"] and here.peers[0].state == "in sync")
        told = exposition(here.hub, dict.fromkeys(here.peers, 7)).decode()
    samples = [s for family in text_string_to_metric_families(told) for s in family.samples]
    by_name = {s.name: s.value for s in samples if s.labels.get("peer") == there.url}
    states = {s.labels["state"]: s.value for s in samples if s.name == "syncd_peer_state"}
    assert [state for state, value in states.items() if value] == ["in sync"]
    assert set(states) == {"offline", "syncing", "in sync", "read-only", "refused"}
    assert (by_name["syncd_peer_waiting_updates"], by_name["syncd_peer_connections_total"]) == (7, 1)
    assert by_name["syncd_peer_frames_sent_total"] > 0
    assert TOKEN not in told
    assert "private" not in told


async def test_it_tells_who_is_slow_and_whether_the_disk_fails(tmp_path: Path) -> None:
    """A reader that lags shows in sockets and in bytes; so does a commit that failed."""
    with Store(tmp_path / "chats.db") as store:
        hub = Hub(store, TokenGate(TOKEN))

        def told() -> dict[str, float]:
            text = exposition(hub, {}).decode()
            families = text_string_to_metric_families(text)
            return {s.name: s.value for family in families for s in family.samples}

        async with hub.running():
            before = told()
            socket = hub.open_socket(CongestedWire())
            assert not socket.relay(Reader(), b"\x00" * 10, Outgoing(b""))
            hub.commits.has_failed = True
            after = told()
    names = ("syncd_sockets", "syncd_lagging_sockets", "syncd_held_bytes", "syncd_store_failing")
    assert [before[name] for name in names] == [0, 0, 0, 0]
    assert [after[name] for name in names] == [1, 1, 10, 1]


class Reader:
    def relayed(self, update: bytes) -> bytes:
        return update

    def caught_up(self) -> None: ...


class CongestedWire:
    """A wire whose peer reads nothing."""

    is_congested = True

    def write(self, message: Outgoing, times: int = 1) -> None: ...

    def offer(self, message: Outgoing) -> bool:
        return not self.is_congested

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    async def run(self, reader: object) -> None: ...
