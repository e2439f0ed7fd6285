"""Attachments travel with their messages, both ways, and wait where they can't."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crdt_conv import Conversation, Store
from syncd.auth import Right
from syncd.client import SyncClient
from tests.replicas import replica
from tests.syncd.fakes import FakeGate
from tests.syncd.servers import TOKEN, free_port, serving, until

pytestmark = pytest.mark.anyio

PICTURE = b"\x89PNG" + bytes(300_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return the daemon's store."""
    with Store(tmp_path / "daemon.db") as opened:
        yield opened


def attach(conversation: Conversation, data: bytes = PICTURE) -> str:
    """Write a message with a file; returns its hash."""
    part = conversation.attach_bytes(data, mime="image/png", name="a.png")
    conversation.append("user", "See:", parts=[part])
    return str(part.content["sha256"])


async def test_what_was_attached_before_is_on_both_sides_after_sync(store: Store) -> None:
    """When sync returns, the daemon has the file, and a second device too."""
    one, other = replica(name="ann"), replica(name="bob")
    sha256 = attach(one)
    async with (
        serving(store) as url,
        SyncClient(url, token=TOKEN) as first,
        SyncClient(url, token=TOKEN) as second,
    ):
        await first.sync(one, timeout_s=10)
        assert store.get_blob(sha256) == PICTURE
        await second.sync(other, timeout_s=10)
        assert other.blob(sha256) == PICTURE


async def test_what_is_attached_later_follows_by_itself(store: Store) -> None:
    """A file attached on one device comes to another that only stays connected."""
    one, other = replica(name="ann"), replica(name="bob")
    async with (
        serving(store) as url,
        SyncClient(url, token=TOKEN) as first,
        SyncClient(url, token=TOKEN) as second,
    ):
        await first.sync(one, timeout_s=10)
        await second.sync(other, timeout_s=10)
        sha256 = attach(one)
        # The message comes before the file: who reads it asks again until it is there.
        await until(lambda: other.blob(sha256) == PICTURE)
        answer = attach(other, b"yes")
        await until(lambda: one.blob(answer) == b"yes")


async def test_a_file_waits_for_the_daemon(store: Store) -> None:
    """Attached while the daemon was away, it goes there when it is back."""
    one, port = replica(), free_port()
    sha256 = attach(one)
    async with SyncClient(f"http://127.0.0.1:{port}", token=TOKEN) as client:
        client.follow(one)
        async with serving(store, port):
            await client.sync(one, timeout_s=20)
            assert store.get_blob(sha256) == PICTURE


async def test_who_may_only_read_gets_files_and_gives_none(store: Store) -> None:
    """A reader's client has the daemon's file; that it may not write harms nothing."""
    daemon_s = store.create(conversation_id="c")
    sha256 = attach(daemon_s)
    gate = FakeGate()
    gate.rights[TOKEN] = frozenset({Right.READ})
    async with serving(store, gate=gate) as url, SyncClient(url, token=TOKEN) as client:
        reader = replica()
        client.follow(reader)
        await until(lambda: reader.blob(sha256) == PICTURE)
