"""A device that was away for a month, and a daemon that moved on: one exchange a document, both ways."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketStream

from crdt_conv import Change, Conversation, Store
from crdt_conv.yjs.encoded import EncodedDocument
from syncd.client import SyncClient
from tests.syncd.peers.daemons import Node, node
from tests.syncd.servers import TOKEN, until

pytestmark = pytest.mark.anyio

DOCUMENTS = 20
OFFLINE = 40
"""Updates of a document on each side while the other one was away."""
ENVELOPE_BYTES = 350
"""What a document's exchange may cost besides its updates, both ways, state vectors and token included."""


@dataclass
class Counted:
    """What went over a connection, in bytes."""

    url: str
    out: int = 0
    back: int = 0


@asynccontextmanager
async def counting(url: str) -> AsyncIterator[Counted]:
    """Pass connections on, and count."""
    host, port = url.removeprefix("http://").split(":")
    listener = await anyio.create_tcp_listener(local_host=host, local_port=0, family=socket.AF_INET)
    counted = Counted(f"http://{host}:{listener.extra(SocketAttribute.local_port)}")

    async def copy(source: ByteStream, sink: ByteStream, *, is_out: bool) -> None:
        try:
            async for data in source:
                counted.out += len(data) * is_out
                counted.back += len(data) * (not is_out)
                await sink.send(data)
            await sink.aclose()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def serve(client: SocketStream) -> None:
        server = await anyio.connect_tcp(host, int(port))
        async with client, server, anyio.create_task_group() as both:
            both.start_soon(lambda: copy(client, server, is_out=True))
            both.start_soon(lambda: copy(server, client, is_out=False))

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield counted
        tasks.cancel_scope.cancel()


def names() -> list[str]:
    """Return the conversations' ids."""
    return [f"c{number:02}" for number in range(DOCUMENTS)]


def write(conversation: Conversation, who: str) -> None:
    """Write for a while with nobody listening."""
    writer = conversation.stream()
    for number in range(OFFLINE - 3):
        writer.write(f"{number} ")
    writer.finish()
    conversation.append("user", f"{who} was here")


async def exchange(store: Store, url: str) -> Counted:
    """Bring all conversations of a device in sync through a counter; returns what it cost."""
    async with counting(url) as counted, SyncClient(counted.url, token=TOKEN) as client:
        async with anyio.create_task_group() as tasks:
            for name in names():
                tasks.start_soon(client.sync, store.join(name))
        assert str(client.summary) == "in sync"
    return counted


async def test_a_month_costs_one_exchange_a_document(tmp_path: Path) -> None:
    """One update each way for each document, whatever the number of edits; then nothing but state vectors."""
    with Store(tmp_path / "device.db") as store:
        async with node(tmp_path / "daemon.db") as daemon:
            for name in names():
                store.create(name, conversation_id=name)
            await exchange(store, daemon.url)
            for name in names():
                write(daemon.conversation(name), "daemon")
                write(store.open(name), "device")
            missed = sum(_missed(store.open(name), daemon.conversation(name)) for name in names())
            before, came = daemon.hub.counters.received, list[Change]()
            store.subscribe(lambda change: came.append(change) if change.origin else None)
            cost = await exchange(store, daemon.url)
            assert daemon.hub.counters.received - before == len(came) == DOCUMENTS
            assert cost.out + cost.back < missed + ENVELOPE_BYTES * DOCUMENTS
            _are_the_same(store, daemon)
            again = await exchange(store, daemon.url)
            assert again.out + again.back < ENVELOPE_BYTES * DOCUMENTS
            assert len(came) == DOCUMENTS


def _missed(device: Conversation, daemon: Conversation) -> int:
    """Return how many bytes the two lack of each other; a daemon answers from its log."""
    log = EncodedDocument(update for _, update in daemon._log.read(daemon.id))
    return len(device.encode(daemon.state_vector)) + len(log.encode(device.state_vector))


def _are_the_same(store: Store, daemon: Node) -> None:
    for name in names():
        here, there = store.open(name).log(), daemon.conversation(name).log()
        assert (here.digest, here.length) == (there.digest, there.length)


async def test_a_program_can_watch_how_it_stands(tmp_path: Path) -> None:
    """Offline with so many waiting, then in sync with none: each change is heard of, as one for all."""
    seen: list[str] = []
    with Store(tmp_path / "device.db") as store:
        one, other = store.create(conversation_id="a"), store.create(conversation_id="b")
        async with SyncClient("http://127.0.0.1:9", token=TOKEN) as client:
            client.follow(one)
            client.follow(other)
            await until(lambda: "offline" in str(client.summary) and client.summary.error != "")
            one.append("user", "waits")
            assert (client.summary.state, client.summary.waiting) == ("offline", 3)
        async with node(tmp_path / "daemon.db") as daemon, SyncClient(daemon.url, token=TOKEN) as client:
            client.follow(one)
            while client.summary.state != "in sync":
                with anyio.fail_after(20):
                    await client.changed()
                seen.append(client.summary.state)
            assert (seen[0], client.summary.waiting) == ("syncing", 0)
            client.unfollow(one)
            one.append("user", "not followed")
            assert client.summary == client.summary.__class__("in sync", 0)
            await client.sync(other, timeout_s=20)
            assert daemon.texts("a") == ["waits"]
            await client.sync(one, timeout_s=20)
            assert daemon.texts("a") == ["waits", "not followed"]
