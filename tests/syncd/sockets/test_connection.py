"""What is written down of a connection, and how often."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from crdt_conv import Store, StoreFull
from syncd.auth import AccessDenied, Right
from syncd.limits import Limits
from syncd.logs.quotas import BURST, PER_S, Quota
from syncd.protocol.frames import Update, encode_frame
from syncd.protocol.refusals import Refusal, Status
from syncd.sockets.connection import Connection
from tests.syncd.fakes import Collab, FakeGate, Solo, running, settled
from tests.syncd.rooms.test_room import BrokenStore, updates

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    """Log all there is."""
    caplog.set_level(logging.DEBUG, logger="syncd")


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """Return the fields of every line about an event."""
    return [vars(record) for record in caplog.records if getattr(record, "event", "") == event]


def test_a_quota_says_what_it_left_out() -> None:
    """So many lines in so much time; the first one after it has their number."""
    quota = Quota(burst=2, per_s=10)
    taken = [quota.take(now_s) for now_s in (100, 101, 102, 109.9, 110, 111, 112, 130)]
    assert taken == [0, 0, None, None, 2, 0, None, 1]


def test_refusals_are_counted_and_few_are_written(caplog: pytest.LogCaptureFixture) -> None:
    """However many frames a client has refused, its lines are few, and the last one has the sum."""
    now_s = [0.0]
    connection = Connection("collab", clock=lambda: now_s[0])
    for _ in range(1000):
        connection.refused("c", "ann", Refusal(Status.INVALID_UPDATE, "not a Yjs update"))
    assert len(told(caplog, "update_refused")) == BURST
    now_s[0] = PER_S
    connection.refused("c", "ann", Refusal(Status.INVALID_UPDATE, "not a Yjs update"))
    assert told(caplog, "update_refused")[-1]["omitted"] == 1000 - BURST
    connection.closed(1000, "")
    assert told(caplog, "connection_closed")[0]["refused"] == 1001


def test_connections_have_ids_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    """Short, and the same in every line of one connection."""
    one, other = Connection("sync"), Connection("sync")
    one.opened()
    one.denied("c", AccessDenied("no such token", 4401))
    assert one.id != other.id
    assert {vars(record)["connection"] for record in caplog.records} == {one.id}
    assert len(one.id) == 8


async def test_updates_that_are_taken_are_counted_and_not_written(caplog: pytest.LogCaptureFixture) -> None:
    """Between a connection's opening and its end stands nothing; the end has what came."""
    first, second = updates("one", "two")
    async with running(Store(":memory:")) as hub:
        client = Solo(hub)
        caplog.clear()
        for update in (first, second):
            client.reader.receive(encode_frame(Update(update)))
        await settled()
        assert caplog.records == []
        hub.close_socket(client.socket, 1001)
    [line] = told(caplog, "connection_closed")
    assert (line["updates"], line["bytes"]) == (2, len(first) + len(second))
    assert (line["code"], line["connection"]) == (1001, client.socket.connection.id)


async def test_a_refused_update_names_conversation_and_connection(caplog: pytest.LogCaptureFixture) -> None:
    """In both dialects, for bytes that are none and for want of the right."""
    async with running(Store(":memory:")) as hub:
        solo, reader = Solo(hub, "one"), Solo(hub, "two", frozenset({Right.READ}))
        solo.reader.receive(encode_frame(Update(b"rubbish")))
        reader.reader.receive(encode_frame(Update(updates("x")[0])))
    lines = told(caplog, "update_refused")
    assert [(line["conversation"], line["status"]) for line in lines] == [
        ("one", "invalid_update"),
        ("two", "permission_denied"),
    ]
    assert [line["connection"] for line in lines] == [
        solo.socket.connection.id,
        reader.socket.connection.id,
    ]
    assert (lines[0]["reason"], lines[0]["sub"]) == ("an update that is cut off", "x")


async def test_who_is_not_let_in_is_written_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """With the conversation, the connection and the reason."""
    async with running(Store(":memory:")) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)
        await client.open(token="wr0ng-token")
        await client.open(token="all")
    [line] = told(caplog, "access_denied")
    assert (line["conversation"], line["code"], line["reason"]) == ("c", 4401, "no such token")
    [entered] = told(caplog, "conversation_opened")
    assert (entered["connection"], entered["sub"]) == (client.socket.connection.id, "all")
    assert "wr0ng-token" not in str([vars(record) for record in caplog.records])


async def test_who_loses_the_right_is_written(caplog: pytest.LogCaptureFixture) -> None:
    """With the connection and the person."""
    gate = FakeGate(ann=frozenset({Right.WRITE}))
    async with running(Store(":memory:"), gate) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)
        await client.open(token="ann")
        del gate.rights["ann"]
        gate.changed()
        await settled()
    [line] = told(caplog, "access_ended")
    assert (line["sub"], line["connection"]) == ("ann", client.socket.connection.id)


async def test_a_slow_client_is_written_when_it_reads_on(caplog: pytest.LogCaptureFixture) -> None:
    """How many updates were merged for it; of one that was never behind nothing is said."""
    async with running(Store(":memory:")) as hub:
        writer, slow = Solo(hub), Solo(hub)
        slow.wire.is_congested = True
        for update in updates("one", "two", "three"):
            writer.reader.receive(encode_frame(Update(update)))
            await settled()
        slow.wire.is_congested = False
        for client in (slow, writer):
            client.reader.drained()
    [line] = told(caplog, "slow_merged")
    assert (line["merged"], line["connection"]) == (3, slow.socket.connection.id)


async def test_a_client_that_is_too_slow_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    """Once, with what waited for it; its end has the code and the sum."""
    async with running(Store(":memory:"), limits=Limits(lag_bytes=50)) as hub:
        writer, slow = Solo(hub), Solo(hub)
        slow.wire.is_congested = True
        for update in updates("one" * 30, "two" * 30):
            writer.reader.receive(encode_frame(Update(update)))
            await settled()
        hub.close_socket(slow.socket)
    [line] = told(caplog, "slow_let_go")
    assert (line["merged"], line["bytes"] > 50) == (1, True)
    [end] = told(caplog, "connection_closed")[:1]
    assert (end["code"], end["merged"]) == (1013, 1)


async def test_the_rate_limit_is_written_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is hit; the end has the number."""
    async with running(Store(":memory:"), limits=Limits(bytes_per_s=1)) as hub:
        client = Solo(hub)
        for _ in range(3):
            client.reader.receive(encode_frame(Update(b"\x00\x00")))
            client.socket._unthrottle()
        hub.close_socket(client.socket)
    assert len(told(caplog, "throttled")) == 1
    assert told(caplog, "connection_closed")[0]["throttled"] == 3


class FullStore(BrokenStore):
    """A store whose disk is full."""

    def append_many(self, rows: Any) -> Any:
        raise StoreFull("/var/lib/chats.db")


async def test_a_full_disk_is_written_few_times(caplog: pytest.LogCaptureFixture) -> None:
    """Not for each conversation, and not again for each update that is refused with it."""
    async with running(FullStore(":memory:")) as hub:
        clients = [Solo(hub, f"c{number}") for number in range(3 * BURST)]
        for client in clients:
            client.reader.receive(encode_frame(Update(updates("one")[0])))
        await settled()
    lines = told(caplog, "store_failed")
    assert len(lines) == BURST
    assert (lines[0]["conversation"], lines[0]["updates"]) == ("c0", 1)
    assert told(caplog, "update_refused") == []
    assert hub.counters.refused == {"try_again": 3 * BURST}
