"""What a member is answered that begins anew, wrote offline, or may do more or less than before."""

from __future__ import annotations

import anyio
import pycrdt
import pytest

from crdt_conv import Store
from crdt_conv.yjs.updates import merge_updates
from syncd.auth import Grant, Right
from syncd.protocol.awareness import encode_awareness
from syncd.protocol.frames import Awareness, SyncStep1, SyncStep2, Update, encode_frame
from syncd.protocol.hocuspocus.codec import Authenticated, PermissionDenied, Sync, SyncStatus, Token
from tests.syncd.fakes import Collab, FakeGate, Solo, running, settled
from tests.syncd.rooms.test_room import updates

pytestmark = pytest.mark.anyio


async def test_what_was_refused_is_asked_for_when_it_may_be_written() -> None:
    """In either dialect: the diff holds it, and a stock client then counts nothing as unsaved."""
    gate, store = FakeGate(ann=frozenset({Right.READ})), Store(":memory:")
    first, second, third = updates("one", "two", "three")
    async with running(store, gate) as hub, anyio.create_task_group() as tasks:
        client, solo = Collab(hub, tasks), Solo(hub, rights=frozenset({Right.READ}))
        await client.open(token="ann")
        for update in (first, second):
            client.say(Sync(Update(update)))
        solo.reader.receive(encode_frame(Update(third)))
        client.take()
        solo.take()
        gate.rights["ann"] = frozenset({Right.WRITE})
        gate.changed()
        solo.member.regrant(Grant("x", frozenset({Right.WRITE})))
        await settled()
        assert client.take() == [Authenticated(is_read_only=False), Sync(SyncStep1(b"\x00"))]
        assert solo.take() == [SyncStep1(b"\x00")]
        client.say(Sync(SyncStep2(merge_updates([first, second]))))
        await settled()
        assert client.take() == [SyncStatus(is_stored=True)] * 2
        gate.rights["ann"] = frozenset({Right.READ})
        gate.changed()
        await settled()
        gate.rights["ann"] = frozenset({Right.WRITE})
        gate.changed()
        await settled()
        # Nothing was refused this time.
        assert client.take() == [Authenticated(is_read_only=True), Authenticated(is_read_only=False)]


async def test_a_client_that_syncs_once_more_is_asked_once_more() -> None:
    """Once for each SyncStep1, the greeting's own question included: its answer ends "unsaved"."""
    async with running(Store(":memory:")) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)
        await client.open()
        for asked in (0, 1, 1):
            client.say(Sync(SyncStep1(b"\x00")))
            await settled()
            step_2, *questions = client.take()
            assert step_2 == Sync(SyncStep2(b"\x00\x00"))
            assert questions == [Sync(SyncStep1(b"\x00"))] * asked
            client.say(Sync(SyncStep2(b"\x00\x00")))
            assert client.take() == [SyncStatus(is_stored=True)]


async def test_what_was_written_offline_is_acknowledged_with_the_diff() -> None:
    """Sent again before the diff it has no status; one that only deletes has it with the diff."""
    source = pycrdt.Doc[pycrdt.Text]()
    text, made = source.get("t", type=pycrdt.Text), list[bytes]()
    source.observe(lambda event: made.append(event.update))
    text += "a"
    text += "b"
    del text[0]
    async with running(Store(":memory:")) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)
        await client.open()
        client.say(Sync(SyncStep1(source.get_state())))
        client.take()
        for update in made:
            client.say(Sync(Update(update)))
        await settled()
        assert client.take() == []
        client.say(Sync(SyncStep2(source.get_update())))
        await settled()
        assert client.take() == [SyncStatus(is_stored=True)] * 2


async def test_what_is_on_its_way_when_a_client_begins_anew_has_no_answer_of_its_own() -> None:
    """Its number is set anew; what was sent before is in the diff that it is asked for."""
    async with running(Store(":memory:")) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)
        await client.open()
        [update] = updates("one")
        client.say(Sync(Update(update)))
        client.say(Sync(SyncStep1(b"\x00")))
        await settled()
        assert not [body for body in client.take() if isinstance(body, SyncStatus)]
        client.say(Sync(SyncStep2(update)))
        assert client.take() == [SyncStatus(is_stored=True)]


async def test_the_last_right_that_goes_closes_the_socket() -> None:
    """With the refusal's code; a socket on which something else is open, or being asked for, stays."""
    gate = FakeGate(ann=frozenset({Right.WRITE}), bob=frozenset({Right.WRITE}))
    async with running(Store(":memory:"), gate) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)
        await client.open("a", token="ann")
        await client.open("b", token="bob")
        del gate.rights["ann"]
        gate.changed()
        await settled()
        assert (client.take("a"), client.wire.closed) == ([PermissionDenied("no such token")], None)
        # A token that is no good, shown where one is in, ends it as well.
        assert await client.open("b", token="nobody") == [PermissionDenied("no such token")]
        assert client.wire.closed == (4401, "no such token")


async def test_a_socket_stays_while_a_document_is_being_asked_for() -> None:
    """The last right goes, and another token has just come."""
    async with running(Store(":memory:")) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)
        await client.open("a")
        client.say(Token("all"), "b")
        client.reader._members["a"].expel(4401, "revoked")
        assert Authenticated(is_read_only=False) in await client.open("b")
        assert client.wire.closed is None


async def test_who_comes_back_is_seen_by_those_who_stayed() -> None:
    """It says its old clock on a new connection, and everybody is told a newer one."""
    async with running(Store(":memory:")) as hub:
        stays, leaves = Solo(hub), Solo(hub)
        here = encode_frame(Awareness(encode_awareness([(7, 1, "{}")])))
        leaves.reader.receive(here)
        leaves.member.room.leave(leaves.member)
        again = Solo(hub)
        stays.take()
        again.reader.receive(here)
        await anyio.sleep(hub.limits.presence_s * 2)
        assert stays.take() == [Awareness(encode_awareness([(7, 3, "{}")]))]
