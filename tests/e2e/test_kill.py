"""SIGKILL, the real one: whatever was acknowledged is there afterwards."""

from __future__ import annotations

import signal
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from bench.sync.kills import Kills
from crdt_conv import Store
from syncd.client import SyncClient
from tests.e2e.programs import TOKEN, daemon
from tests.replicas import replica

pytestmark = pytest.mark.anyio


async def acknowledged_until_killed(db: Path, kill_after: int) -> tuple[set[str], str]:
    """Write through a daemon, kill it in the middle; returns the messages that it had acknowledged."""
    conversation = replica(f"c{kill_after}")
    written: dict[str, int] = {}
    with daemon(db, "--no-executor") as server:
        async with SyncClient(server.url, token=TOKEN) as client:
            await client.sync(conversation, timeout_s=20)
            while len(written) < kill_after * 3:
                message = conversation.append("user", f"message {len(written)}")
                written[message.id] = conversation.last_seq
                # Only sometimes in step with the daemon: the rest is under way when it dies.
                if len(written) % 7 == 0:
                    await anyio.lowlevel.checkpoint()
                if len(written) == kill_after * 2:
                    await client.sync(conversation, timeout_s=20)
                    server.process.send_signal(signal.SIGKILL)
            waiting = conversation.waiting(server.url)
        server.process.wait()
    last = conversation.last_seq - waiting
    return {message for message, seq in written.items() if seq <= last}, conversation.id


@pytest.mark.parametrize("kill_after", [3, 20, 60])
async def test_what_the_daemon_acknowledged_survives_sigkill(tmp_path: Path, kill_after: int) -> None:
    """Every message that the client counts as stored is in the killed daemon's file, and reads well."""
    db = tmp_path / "daemon.db"
    acknowledged, conversation_id = await acknowledged_until_killed(db, kill_after)
    assert len(acknowledged) >= kill_after * 2
    with Store(db) as store:
        conversation = store.open(conversation_id)
        assert acknowledged <= {message.id for message in conversation.log().messages}
        assert not conversation.problems()


async def test_what_was_not_acknowledged_goes_out_again(tmp_path: Path) -> None:
    """A client goes on with a daemon that was killed; nothing is missing, nothing there twice."""
    conversation = replica()
    with daemon(tmp_path / "daemon.db", "--no-executor") as first:
        async with SyncClient(first.url, token=TOKEN) as client:
            conversation.append("user", "before")
            await client.sync(conversation, timeout_s=20)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            for number in range(10):
                conversation.append("user", f"meanwhile {number}")
            with daemon(tmp_path / "daemon.db", "--no-executor", port=first.port) as second:
                with anyio.fail_after(30):
                    while conversation.waiting(second.url):  # noqa: ASYNC110 - two processes, no event
                        await anyio.sleep(0.05)
    with Store(tmp_path / "daemon.db") as store:
        assert store.open("c").log() == conversation.log()


async def test_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    """Raw clients of both dialects write as fast as they are answered; the long form is ``make kills``."""
    kills = Kills("ours", tmp_path, seed=1, has_stock=False)
    tally = await kills.run(2)
    assert tally.is_clean, tally
    assert tally.acknowledged > 0
    assert tally.delivered > 0
