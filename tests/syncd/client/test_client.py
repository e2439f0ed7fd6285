"""The Python client against the real application, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve

from crdt_conv import Conversation, Store
from syncd.auth import Right
from syncd.client import SyncClient
from syncd.errors import SyncRefused, SyncTimeout
from tests.replicas import replica, texts
from tests.syncd.fakes import FakeGate
from tests.syncd.servers import TOKEN, free_port, serving, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return the daemon's store."""
    with Store(tmp_path / "daemon.db") as opened:
        yield opened


def log_of(conversation: Conversation) -> list[str]:
    """Return what the main branch says."""
    return texts(conversation.log().messages)


async def test_two_clients_see_each_other_s_messages(store: Store) -> None:
    """What one writes, the other has, before and after both are connected."""
    one, other = replica(name="ann"), replica(name="bob")
    one.append("user", "before")
    async with (
        serving(store) as url,
        SyncClient(url, token=TOKEN) as first,
        SyncClient(url, token=TOKEN) as second,
    ):
        await first.sync(one, timeout_s=10)
        await second.sync(other, timeout_s=10)
        assert log_of(other) == ["before"]
        other.append("user", "after")
        await until(lambda: log_of(one) == ["before", "after"])
        await second.sync(other, timeout_s=10)
    assert log_of(store.open("c")) == ["before", "after"]


async def test_in_sync_means_stored(store: Store, tmp_path: Path) -> None:
    """When sync returns, another process can read it from the daemon's file."""
    conversation = replica()
    async with serving(store) as url, SyncClient(url, token=TOKEN) as client:
        for number in range(20):
            conversation.append("user", str(number))
        await client.sync(conversation, timeout_s=10)
        with Store(tmp_path / "daemon.db", read_only=True) as reader:
            assert len(reader.open("c").log().messages) == 20


async def test_what_is_written_offline_waits_and_goes_out(store: Store) -> None:
    """Without the server the outbox counts, and empties when the server is there."""
    conversation = replica()
    conversation.append("user", "one")
    async with serving(store) as url:
        async with SyncClient(url, token=TOKEN) as client:
            await client.sync(conversation, timeout_s=10)
            assert str(client.status(conversation)) == "in sync"
        conversation.append("user", "two")
        conversation.append("user", "three")
        assert conversation.waiting(url) == 2
        async with SyncClient(url, token=TOKEN) as client:
            await client.sync(conversation, timeout_s=10)
        assert conversation.waiting(url) == 0
    assert log_of(store.open("c")) == ["one", "two", "three"]


async def test_the_client_comes_back_after_a_restart(store: Store) -> None:
    """When the server goes and comes again at its address, the same client goes on by itself."""
    conversation, port = replica(), free_port()
    async with SyncClient(f"ws://127.0.0.1:{port}", token=TOKEN) as client:
        async with serving(store, port):
            await client.sync(conversation, timeout_s=10)
        await until(lambda: client.status(conversation).state == "offline")
        conversation.append("user", "while it was away")
        async with serving(store, port):
            await client.sync(conversation, timeout_s=20)
    assert log_of(store.open("c")) == ["while it was away"]


async def test_coming_back_costs_nothing_in_the_log(store: Store) -> None:
    """A client that is in sync can come and go without the server writing anything."""
    conversation = replica()
    writer = conversation.stream()
    writer.finish()
    async with serving(store) as url:
        for _ in range(3):
            async with SyncClient(url, token=TOKEN) as client:
                await client.sync(conversation, timeout_s=10)
        assert len(store.read(conversation.id)) == 1


async def test_a_wrong_token_is_final(store: Store) -> None:
    """The client is told why, and does not try for ever."""
    conversation = replica()
    async with serving(store) as url, SyncClient(url, token="wrong") as client:
        with pytest.raises(SyncRefused, match="token"):
            await client.sync(conversation, timeout_s=10)
        assert client.status(conversation).state == "refused"


async def test_who_may_only_read_goes_on_reading_and_writes_once_it_may(store: Store) -> None:
    """A refused update stops neither what others write nor, once the right comes, its own way out."""
    gate, mine, theirs = FakeGate(ann=frozenset({Right.READ})), replica(), replica(name="bob")
    async with (
        serving(store, gate=gate) as url,
        SyncClient(url, token="ann") as reader,
        SyncClient(url, token="all") as writer,
    ):
        await reader.sync(mine, timeout_s=10)
        mine.append("user", "may I?")
        with pytest.raises(SyncRefused, match="may only read"):
            await reader.sync(mine, timeout_s=10)
        theirs.append("user", "hello")
        await writer.sync(theirs, timeout_s=10)
        await until(lambda: log_of(mine) == ["hello", "may I?"] or log_of(mine) == ["may I?", "hello"])
        assert (reader.status(mine).state, reader.status(mine).waiting > 0) == ("read-only", True)
        gate.rights["ann"] = frozenset({Right.WRITE})
        gate.changed()
        await until(lambda: reader.status(mine).state == "in sync")
        assert reader.status(mine).waiting == 0
        await until(lambda: "may I?" in log_of(theirs))


async def test_a_server_that_turns_everybody_away_is_not_hammered() -> None:
    """Being let in and closed at once is no success: the waits grow as if nobody had answered."""
    times: list[float] = []

    async def turn_away(socket: ServerConnection) -> None:
        times.append(anyio.current_time())
        await socket.close(1013, "later")

    async with serve(turn_away, "127.0.0.1", free_port()) as server:
        port = server.sockets[0].getsockname()[1]
        async with SyncClient(f"ws://127.0.0.1:{port}", token=TOKEN) as client:
            client.follow(replica())
            await until(lambda: len(times) == 4)
    # At least half of 0.4, 0.8 and 1.6 s; with no growth it would be under 0.6 in all.
    assert times[3] - times[0] > 1.3


async def test_no_server_is_a_timeout_not_a_loss() -> None:
    """Without a server there is an error that says so, and the message waits."""
    conversation = replica()
    conversation.append("user", "patience")
    async with SyncClient("http://127.0.0.1:9", token=TOKEN) as client:
        with pytest.raises(SyncTimeout, match="offline, 1 waiting"):
            await client.sync(conversation, timeout_s=0.5)
    assert log_of(conversation) == ["patience"]


async def test_an_answer_streams_to_the_other_device(store: Store) -> None:
    """Text that is written piece by piece arrives piece by piece."""
    one, other = replica(), replica()
    async with (
        serving(store) as url,
        SyncClient(url, token=TOKEN) as first,
        SyncClient(url, token=TOKEN) as second,
    ):
        await first.sync(one, timeout_s=10)
        await second.sync(other, timeout_s=10)
        writer = one.stream()
        for text, so_far in (("Hel", "Hel"), ("lo", "Hello")):
            writer.write(text)
            await until(partial(lambda expected: log_of(other) == [expected], so_far))
        writer.finish()
        await until(lambda: other.log().messages[0].is_complete)


async def test_a_conversation_with_a_gap_reaches_the_others(store: Store) -> None:
    """An update whose predecessor is missing is stored and relayed, and read when the gap closes."""
    source = replica()
    updates: list[bytes] = []
    source.subscribe(lambda change: updates.append(change.update))
    source.append("user", "one")
    source.append("user", "two")
    early, late = replica(), replica()
    early.receive(updates[1])
    async with serving(store) as url:
        for conversation in (early, late):
            async with SyncClient(url, token=TOKEN) as client:
                await client.sync(conversation, timeout_s=10)
        late.receive(updates[0])
        assert log_of(late) == ["one", "two"]
