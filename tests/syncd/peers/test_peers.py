"""Daemons that sync with daemons: chains, rings and diamonds settle; restarts and deletions, too."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from crdt_conv import Conversation, Store
from syncd.auth import AccessDenied, CallableGate, Credentials, Right
from syncd.client import SyncClient
from syncd.rooms import room as rooms
from tests.replicas import replica
from tests.syncd.peers.daemons import Node, net, node
from tests.syncd.servers import TOKEN, free_port, until

pytestmark = pytest.mark.anyio

SHAPES = {
    "chain": (3, [(0, 1), (1, 2)]),
    "pair, both ways": (2, [(0, 1), (1, 0)]),
    "ring": (3, [(0, 1), (1, 2), (2, 0)]),
    "diamond": (4, [(0, 1), (0, 2), (1, 3), (2, 3)]),
}
WRITTEN = 20


async def settled(*nodes: Node) -> None:
    """Wait until all are in sync, and nothing has moved for a while."""
    before: list[tuple[int, int, int]] = []
    # Polled: that nothing happens is no event.
    while before != (before := [one.traffic for one in nodes]) or not all(one.is_settled for one in nodes):  # noqa: ASYNC110
        await anyio.sleep(0.3)


async def write(one: Node, number: int) -> None:
    """Write to a daemon, as a client and in its own process."""
    mine = replica()
    async with SyncClient(one.url, token=TOKEN) as client:
        for count in range(WRITTEN):
            # So long that other daemons know it by its content alone.
            mine.append("user", f"client {count} of {number}{' ' * 2000}")
            one.store.join("c").append("user", f"own {count} of {number}")
            await client.sync(mine, timeout_s=20)


def written(*numbers: int) -> set[str]:
    """Return what ``write`` wrote."""
    return {f"{kind} {n} of {at}" for kind in ("client", "own") for at in numbers for n in range(WRITTEN)}


def has(one: Node, expected: set[str]) -> bool:
    """Whether a daemon has all of it."""
    return {text.strip() for text in one.texts()} >= expected


@pytest.mark.parametrize("shape", SHAPES)
async def test_what_is_written_anywhere_is_everywhere(
    tmp_path: Path, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written on all at once: all say the same, and then nothing moves any more, whatever came twice."""
    # Nothing is known again by its bytes: what stops it is only that it is no news.
    monkeypatch.setattr(rooms, "RECENT", 0)
    count, edges = SHAPES[shape]
    async with net(tmp_path, edges, count) as nodes:
        async with anyio.create_task_group() as tasks:
            for number, one in enumerate(nodes):
                tasks.start_soon(write, one, number)
        await until(lambda: all(has(one, written(*range(count))) for one in nodes))
        await settled(*nodes)
        before = [one.traffic for one in nodes]
        await anyio.sleep(0.5)
        assert [one.traffic for one in nodes] == before
        assert len({one.conversation().log().digest for one in nodes}) == 1
        # Written down once a second.
        await until(lambda: all(peer.waiting() == 0 for one in nodes for peer in one.peers))


async def test_a_daemon_that_was_away_catches_up(tmp_path: Path) -> None:
    """The middle of a chain ends, all write on, it starts again: everything goes through it."""
    ports = [free_port() for _ in range(3)]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    async with (
        node(tmp_path / "0.db", urls[1], port=ports[0]) as first,
        node(tmp_path / "2.db", urls[1], port=ports[2]) as last,
    ):
        async with node(tmp_path / "1.db", port=ports[1]) as middle:
            await write(first, 0)
            await until(lambda: has(last, written(0)))
            await settled(first, middle, last)
            await until(lambda: first.peers[0].waiting() == last.peers[0].waiting() == 0)
        await until(lambda: first.peers[0].state == last.peers[0].state == "offline")
        await write(first, 3)
        await write(last, 4)
        assert all(0 < one.peers[0].waiting() <= 2 * WRITTEN for one in (first, last))
        async with node(tmp_path / "1.db", port=ports[1]) as middle:
            await until(lambda: all(has(one, written(0, 3, 4)) for one in (first, middle, last)))
            await settled(first, middle, last)
            await until(lambda: first.peers[0].waiting() == last.peers[0].waiting() == 0)


async def test_new_conversations_are_found_on_either_side(tmp_path: Path) -> None:
    """Made before or while they are connected, here or there, by a client or in the process."""
    with Store(tmp_path / "1.db") as store:
        store.create("before", conversation_id="there")
    with Store(tmp_path / "0.db") as store:
        store.create("before", conversation_id="here")
    async with net(tmp_path, [(0, 1)], 2) as (here, there):
        await until(lambda: here.store.engine.has("there") and there.store.engine.has("here"))
        here.store.create("new", conversation_id="new here")
        there.store.create("new", conversation_id="new/there")
        mine = replica("a client's")
        mine.append("user", "hello")
        async with SyncClient(there.url, token=TOKEN) as client:
            await client.sync(mine, timeout_s=20)
        await until(lambda: {i.id for i in here.store.list()} == {i.id for i in there.store.list()})
        assert len(here.store.list()) == 5


async def test_what_is_let_go_is_still_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for few, and none for idle ones: memory is given back, and changes on either side travel."""
    monkeypatch.setattr("syncd.peers.exchange.OPEN", 4)
    with Store(tmp_path / "1.db") as store:
        for number in range(30):
            store.create(conversation_id=f"c{number}")
    async with (
        node(tmp_path / "1.db") as there,
        node(tmp_path / "0.db", there.url, idle_s=0.0) as here,
    ):
        await until(lambda: len(here.store.list()) == 30)
        await settled(here)
        peer = here.peers[0]
        await until(lambda: peer.open_count == 0 and not len(here.hub.rooms))
        there.store.open("c3").append("user", "from there")
        here.conversation("c4").append("user", "from here")
        await until(lambda: here.texts("c3") == ["from there"] and there.texts("c4") == ["from here"])
        await until(lambda: peer.open_count == 0 and peer.state == "in sync")


@pytest.mark.parametrize("deleted_at", [0, 1, 2])
async def test_a_deletion_reaches_everybody(tmp_path: Path, deleted_at: int) -> None:
    """Deleted anywhere in a chain, it is gone everywhere, and does not come back."""
    async with net(tmp_path, [(0, 1), (1, 2)], 3) as nodes:
        nodes[0].store.create(conversation_id="c").append("user", "secret")
        await until(lambda: all(one.store.engine.has("c") for one in nodes))
        nodes[deleted_at].store.delete("c")
        await until(lambda: all(one.store.engine.is_deleted("c") for one in nodes))
        await settled(*nodes)
        assert not any(one.store.engine.has("c") for one in nodes)


@pytest.mark.parametrize("deleted_at", [0, 1])
async def test_a_deletion_of_then_is_heard_of_later(tmp_path: Path, deleted_at: int) -> None:
    """Deleted on one while the other was away: gone on both when they meet, not back on both."""
    async with net(tmp_path, [(0, 1)], 2) as nodes:
        nodes[0].store.create(conversation_id="c").append("user", "secret")
        await until(lambda: all(one.store.engine.has("c") for one in nodes))
    with Store(tmp_path / f"{deleted_at}.db") as store:
        store.delete("c")
    async with net(tmp_path, [(0, 1)], 2) as nodes:
        await until(lambda: all(one.store.engine.is_deleted("c") for one in nodes))


async def test_attachments_come_along(tmp_path: Path) -> None:
    """Of messages from before the connection and from while it holds, through a chain, in both directions."""
    file = tmp_path / "socks.txt"
    file.write_text("warm")
    with Store(tmp_path / "0.db") as store:
        early = store.create(conversation_id="c")
        first = early.append("user", parts=[early.attach(file)])
    async with net(tmp_path, [(0, 1), (1, 2)], 3) as nodes:
        await until(lambda: all(one.store.has_blob(first.blobs[0]) for one in nodes))
        file.write_text("warmer")
        late = nodes[2].conversation()
        last = late.append("user", parts=[late.attach(file)])
        await until(lambda: all(one.store.get_blob(last.blobs[0]) == b"warmer" for one in nodes))


async def test_a_wrong_token_is_told_and_tried_again_seldom(tmp_path: Path) -> None:
    """The state says so; nothing is exchanged, and the waits grow."""
    async with node(tmp_path / "1.db") as there, node(tmp_path / "0.db", there.url, token="wrong") as here:
        peer = here.peers[0]
        await until(lambda: peer.state == "refused")
        assert "token" in peer.error
        assert there.hub.counters.received == 0


def reader_only(credentials: Credentials, conversation: str | None) -> set[Right]:
    """Let everybody read, and the token write where it is not ``c``."""
    if credentials.token != TOKEN:
        raise AccessDenied("a valid token is needed", 4401)
    return {Right.READ} if conversation == "c" else set(Right)


async def test_a_right_to_read_is_enough_to_read(tmp_path: Path) -> None:
    """What is there comes over; what is written here waits, and the state says why."""
    async with (
        node(tmp_path / "1.db", gate=CallableGate(reader_only)) as there,
        node(tmp_path / "0.db", there.url) as here,
    ):
        there.store.create(conversation_id="c").append("user", "theirs")
        await until(lambda: here.texts() == ["theirs"])
        here.conversation().append("user", "ours")
        await until(lambda: here.peers[0].state == "read-only")
        there.store.open("c").append("user", "more")
        await until(lambda: "more" in here.texts())
        assert there.texts() == ["theirs", "more"]
        assert here.peers[0].waiting() > 0


async def test_a_gap_goes_through_a_ring_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that waits for another is stored everywhere, once, and read when the other comes."""
    monkeypatch.setattr(rooms, "RECENT", 0)
    source, updates = replica(), list[bytes]()
    source.subscribe(lambda change: updates.append(change.update))
    writer = source.stream()
    writer.write("behind")
    late = replica()
    late.receive(updates[-1])
    async with net(tmp_path, SHAPES["ring"][1], 3) as nodes:
        await _send(nodes[0], late)
        await until(lambda: all(one.store.engine.has("c") for one in nodes))
        await settled(*nodes)
        await _send(nodes[1], source)
        await until(lambda: all(one.texts() == ["behind"] for one in nodes))
        await settled(*nodes)
        assert all(len(one.store.read(source.id)) <= 6 for one in nodes)


async def _send(one: Node, conversation: Conversation) -> None:
    async with SyncClient(one.url, token=TOKEN) as client:
        await client.sync(conversation, timeout_s=20)
