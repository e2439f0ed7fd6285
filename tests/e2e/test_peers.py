"""Daemons that sync with daemons, as real processes: one is killed in the middle, and its state is shown."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from crdt_conv import Conversation, Store
from syncd.client import SyncClient
from tests.e2e.programs import TOKEN, daemon
from tests.e2e.test_operations import syncd
from tests.replicas import replica, texts
from tests.syncd.servers import free_port, until

pytestmark = pytest.mark.anyio


def status(db: Path) -> Any:
    """Return what ``syncd status --json`` says."""
    return json.loads(syncd("status", "--db", str(db), "--json").stdout)


async def written(conversation: Conversation, url: str, *said: str) -> None:
    """Write to a daemon as a client of its."""
    async with SyncClient(url, token=TOKEN) as client:
        for text in said:
            conversation.append("user", text)
        await client.sync(conversation, timeout_s=30)


async def read(db_url: str, *expected: str) -> None:
    """Wait until a daemon has all of this."""
    reader = replica()
    async with SyncClient(db_url, token=TOKEN) as client:
        await client.sync(reader, timeout_s=30)
        await until(lambda: {*texts(reader.log().messages)} >= {*expected})


async def test_a_chain_survives_the_kill_of_its_middle(tmp_path: Path) -> None:
    """SIGKILL of the middle while both ends write; it starts again, and everybody has everything."""
    middle_port = free_port()
    peer = ("--no-executor", "--peer", f"http://127.0.0.1:{middle_port}?token={TOKEN}")
    ann, bob = replica(name="ann"), replica(name="bob")
    dbs = [tmp_path / f"{number}.db" for number in range(3)]
    async with AsyncExitStack() as stack:
        with daemon(dbs[1], "--no-executor", port=middle_port) as middle:
            first = stack.enter_context(daemon(dbs[0], *peer))
            last = stack.enter_context(daemon(dbs[2], *peer))
            await written(ann, first.url, "one")
            await read(last.url, "one")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(written, ann, first.url, *map(str, range(100)))
                tasks.start_soon(written, bob, last.url, *map(str, range(100, 200)))
                middle.process.kill()
        state = status(dbs[0])["peers"][0]
        assert (state["url"], state["state"]) == (f"http://127.0.0.1:{middle_port}", "offline")
        assert state["waiting_updates"] > 0
        with daemon(dbs[1], "--no-executor", port=middle_port) as middle:
            everything = ("one", *map(str, range(200)))
            for each in (first, middle, last):
                await read(each.url, *everything)
            await until(lambda: status(dbs[0])["peers"][0]["waiting_updates"] == 0)
            shown = syncd("status", "--db", str(dbs[2])).stdout
            assert "in sync" in shown
            assert TOKEN not in shown
    digests = set()
    for db in dbs:
        with Store(db) as store:
            digests.add(store.open("c").log().digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--peer", "somewhere?token=secret"], "no URL of a daemon"),
        (["--limit", "frames=1"], "no limit is called"),
        (["--limit", "frame-bytes=0"], "more than 0"),
    ],
)
def test_what_can_t_be_is_wrong_usage(tmp_path: Path, arguments: list[str], says: str) -> None:
    """One clear line, no token in it, and nothing is started."""
    done = syncd("serve", "--no-executor", "--db", str(tmp_path / "chats.db"), *arguments)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "secret" not in done.stderr
    assert not (tmp_path / "chats.db").exists()
