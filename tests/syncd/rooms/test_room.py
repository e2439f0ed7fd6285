"""Rooms without a network: what is answered when, and what happens when the store is in the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest

from crdt_conv import Conversation, Store, StoreError
from crdt_conv.engine import Row
from crdt_conv.ids import ConversationId
from syncd.auth import Right
from syncd.limits import Limits
from syncd.protocol.awareness import encode_awareness
from syncd.protocol.frames import Awareness, Denied, SyncStep1, SyncStep2, Update, encode_frame
from syncd.protocol.hocuspocus.codec import (
    Authenticated,
    Close,
    PermissionDenied,
    Stateless,
    Sync,
    SyncStatus,
    Token,
    TokenWanted,
)
from tests.replicas import replica, texts
from tests.syncd.fakes import Collab, FakeGate, Solo, running, settled

pytestmark = pytest.mark.anyio


class BrokenStore(Store):
    """A store that can't be read, or written, while told so."""

    cant_read = False
    cant_write = False

    def read(self, conversation: ConversationId) -> Sequence[tuple[int, bytes]]:
        if self.cant_read:
            raise StoreError("the disk answered with an error")
        return super().read(conversation)

    def append_many(self, rows: Sequence[Row]) -> Sequence[int]:
        if self.cant_write:
            raise StoreError(f"no room for {len(rows)}")
        return super().append_many(rows)


def updates(*messages: str) -> list[bytes]:
    """Return updates that each write a message behind the last."""
    source, made = replica(), list[bytes]()
    source.subscribe(lambda change: made.append(change.update))
    for text in messages:
        source.append("user", text)
    return made


def stored(store: Store, conversation_id: str = "c") -> list[str]:
    """Return what a conversation says, read from its log alone."""
    return texts(replica_of(store, conversation_id).log().messages)


def replica_of(store: Store, conversation_id: str = "c") -> Conversation:
    """Return a replica that was made from a log alone."""
    copy = replica()
    for _, update in store.engine.read(ConversationId(conversation_id)):
        copy.receive(update)
    return copy


async def test_nothing_is_relayed_or_acknowledged_before_it_is_on_disk() -> None:
    """Until the log has it, neither its sender nor anybody else hears of an update."""
    store = BrokenStore(":memory:")
    async with running(store) as hub, anyio.create_task_group() as tasks:
        writer, reader = Collab(hub, tasks), Solo(hub)
        await writer.open()
        reader.take()
        [update] = updates("one")
        writer.say(Sync(Update(update)))
        # Still in this moment: the disk can't have answered.
        assert (writer.take(), reader.take()) == ([], [])
        await settled()
        assert writer.take() == [SyncStatus(is_stored=True)]
        assert reader.take() == [Update(update)]


async def test_answers_come_in_the_order_of_the_frames() -> None:
    """What is empty, known or refused is answered in its place, never before what came earlier."""
    first, second = updates("one", "two")
    async with running(Store(":memory:")) as hub, anyio.create_task_group() as tasks:
        writer = Collab(hub, tasks)
        await writer.open()
        for update in (first, b"\x00\x00", b"rubbish", second):
            writer.say(Sync(Update(update)))
        assert writer.take() == []
        await settled()
        told = writer.take()
    kinds = [body for body in told if isinstance(body, SyncStatus)]
    assert kinds == [
        SyncStatus(is_stored=True),
        SyncStatus(is_stored=True),
        SyncStatus(is_stored=False),
        SyncStatus(is_stored=True),
    ]
    refusal = next(body for body in told if isinstance(body, Stateless))
    assert json.loads(refusal.text)["status"] == "invalid_update"
    assert told.index(refusal) == told.index(SyncStatus(is_stored=False)) - 1


async def test_what_the_log_can_t_take_is_refused_and_nobody_sees_it() -> None:
    """Its sender is told why, and to come back; others hear nothing."""
    store = BrokenStore(":memory:")
    async with running(store) as hub, anyio.create_task_group() as tasks:
        writer, solo, other = Collab(hub, tasks), Solo(hub), Solo(hub)
        await writer.open()
        for client in (solo, other):
            client.take()
        store.cant_write = True
        writer.say(Sync(Update(updates("one")[0])))
        solo.reader.receive(encode_frame(Update(updates("two")[0])))
        await settled()
        told = writer.take()
        assert isinstance(told[0], Stateless)
        assert json.loads(told[0].text)["status"] == "try_again"
        assert told[1] == SyncStatus(is_stored=False)
        assert isinstance(told[-1], Close)
        assert solo.wire.closed is not None
        assert solo.wire.closed[0] == 1013
        assert isinstance(solo.take()[0], Denied)
        assert other.take() == []
    assert store.list() == []


async def test_one_who_may_only_read_is_told_so() -> None:
    """Its updates are refused with a reason in either dialect; what is known already is not."""
    store = Store(":memory:")
    known, new = updates("one", "two")
    store.join("c").receive(known)
    async with running(store) as hub, anyio.create_task_group() as tasks:
        reader, solo = Collab(hub, tasks), Solo(hub, rights=frozenset({Right.READ}))
        assert Authenticated(is_read_only=True) in await reader.open(token="reader")
        reader.say(Sync(SyncStep2(known)))
        assert reader.take() == [SyncStatus(is_stored=True)]
        reader.say(Sync(Update(new)))
        stateless, status = reader.take()
        assert isinstance(stateless, Stateless)
        assert json.loads(stateless.text)["status"] == "permission_denied"
        assert status == SyncStatus(is_stored=False)
        solo.take()
        solo.reader.receive(encode_frame(Update(new)))
        assert isinstance(solo.take()[0], Denied)
        assert solo.wire.closed is None
    assert stored(store) == ["one"]


async def test_a_document_does_not_grow_beyond_its_bound() -> None:
    """What would make it too large is refused, and says so."""
    store = Store(":memory:")
    async with running(store, limits=replace(Limits(), document_bytes=1000)) as hub:  # noqa: SIM117
        async with anyio.create_task_group() as tasks:
            writer = Collab(hub, tasks)
            await writer.open()
            writer.say(Sync(Update(updates("x" * 2000)[0])))
            stateless, status = writer.take()
    assert isinstance(stateless, Stateless)
    assert json.loads(stateless.text)["status"] == "payload_too_large"
    assert status == SyncStatus(is_stored=False)


async def test_a_gap_is_stored_relayed_and_served() -> None:
    """What waits for an update that has not come is in every answer, and closes when it comes."""
    store = Store(":memory:")
    first, second = updates("one", "two")
    async with running(store) as hub:
        writer, reader = Solo(hub), Solo(hub)
        for client in (writer, reader):
            client.take()
        writer.reader.receive(encode_frame(Update(second)))
        await settled()
        assert reader.take() == [Update(second)]
        late = Solo(hub)
        asked = late.take()[0]
        # We say that we lack what is missing: a client that has it sends it.
        assert asked == SyncStep1(b"\x00")
        late.reader.receive(encode_frame(SyncStep1(b"\x00")))
        answer = late.take()[0]
        assert isinstance(answer, SyncStep2)
        copy = replica()
        copy.receive(answer.update)
        copy.receive(first)
        assert texts(copy.log().messages) == ["one", "two"]
        writer.reader.receive(encode_frame(Update(first)))
        await settled()
    assert stored(store) == ["one", "two"]


async def test_a_lagging_reader_is_sent_one_update_when_it_reads_on() -> None:
    """While it does not read nothing is written to it; then it gets all of it merged."""
    made = updates(*map(str, range(200)))
    async with running(Store(":memory:")) as hub:
        writer, reader = Solo(hub), Solo(hub)
        reader.take()
        reader.wire.is_congested = True
        for update in made:
            writer.reader.receive(encode_frame(Update(update)))
            await anyio.lowlevel.checkpoint()
        await settled()
        assert reader.take() == []
        reader.wire.is_congested = False
        reader.reader.drained()
        [merged] = reader.take()
    assert isinstance(merged, Update)
    copy = replica()
    copy.receive(merged.update)
    assert len(copy.log().messages) == 200


async def test_who_asks_while_it_lags_is_answered_when_it_reads_on() -> None:
    """What a client lacks is sent once it has read the rest, though no update was held for it meanwhile."""
    [update] = updates("one")
    async with running(Store(":memory:")) as hub:
        Solo(hub).reader.receive(encode_frame(Update(update)))
        await settled()
        slow = Solo(hub)
        slow.wire.is_congested = True
        for _ in range(2):
            slow.reader.receive(encode_frame(SyncStep1(b"\x00")))
            slow.take()
        slow.wire.is_congested = False
        slow.reader.drained()
        [answer] = slow.take()
    assert isinstance(answer, SyncStep2)
    assert answer.update != b"\x00\x00"


async def test_who_still_reads_a_long_answer_is_asked_behind_it() -> None:
    """What a client lacks goes out first; it is asked for what it has when it has read that, once."""
    [update] = updates("one")
    async with running(Store(":memory:")) as hub:
        client = Solo(hub)
        client.reader.receive(encode_frame(Update(update)))
        client.reader.receive(encode_frame(SyncStep1(b"\x00")))
        await settled()
        client.take()
        client.wire.congests = True
        client.reader.receive(encode_frame(SyncStep1(b"\x00")))
        await settled()
        assert [type(frame) for frame in client.take()] == [SyncStep2]
        client.wire.congests = client.wire.is_congested = False
        for _ in range(2):
            client.reader.drained()
        assert [type(frame) for frame in client.take()] == [SyncStep1]


async def test_who_opens_a_document_again_hears_no_answer_to_what_it_sent_before() -> None:
    """An update under way when its client closed the document is stored, and acknowledges nothing."""
    store = Store(":memory:")
    async with running(store) as hub, anyio.create_task_group() as tasks:
        writer = Collab(hub, tasks)
        await writer.open()
        writer.say(Sync(Update(updates("one")[0])))
        writer.say(Close())
        told = await writer.open()
        assert Authenticated(is_read_only=False) in told
        assert SyncStatus(is_stored=True) not in told
    assert stored(store) == ["one"]


async def test_a_reader_that_lags_too_far_or_too_long_is_let_go() -> None:
    """Its socket is closed with 1013, so that it comes back and catches up; the writer goes on."""
    async with running(Store(":memory:"), limits=replace(Limits(), lag_bytes=5000, lag_s=5)) as hub:
        writer, far, long = Solo(hub), Solo(hub), Solo(hub)
        far.wire.is_congested = long.wire.is_congested = True
        writer.reader.receive(encode_frame(Update(updates("short")[0])))
        await settled()
        long.wire.is_congested = True
        assert (far.wire.closed, long.wire.closed) == (None, None)
        long.socket.sweep(1e12)
        writer.reader.receive(encode_frame(Update(updates("x" * 6000)[0])))
        await settled()
        for reader in (far, long):
            assert reader.wire.closed is not None
            assert reader.wire.closed[0] == 1013
        assert writer.wire.closed is None


async def test_who_comes_while_the_daemon_ends_is_told_to_come_back() -> None:
    """A socket that an application around it still hands over is closed with 1012, and not heard."""
    store = Store(":memory:")
    async with running(store) as hub:
        pass
    late = Solo(hub)
    late.reader.receive(encode_frame(Update(updates("late")[0])))
    assert late.wire.closed is not None
    assert late.wire.closed[0] == 1012
    assert hub.commits.waiting == 0


async def test_a_flood_is_read_no_faster_than_the_disk_takes_it() -> None:
    """With too much on its way to the disk a socket is not read, and is again when it is stored."""
    async with running(Store(":memory:"), limits=replace(Limits(), uncommitted_bytes=1000)) as hub:
        writer = Solo(hub)
        for update in updates(*["x" * 600] * 3):
            writer.reader.receive(encode_frame(Update(update)))
        assert writer.wire.is_paused
        await settled()
        assert not writer.wire.is_paused


async def test_who_sends_more_than_allowed_is_read_more_slowly() -> None:
    """Beyond the bound of a second nothing is read for a while; nothing is lost."""
    store = Store(":memory:")
    async with running(store, limits=replace(Limits(), frames_per_s=20)) as hub:
        writer = Solo(hub)
        for update in updates(*map(str, range(22))):
            writer.reader.receive(encode_frame(Update(update)))
        assert writer.wire.is_paused
        await anyio.sleep(0.3)
        assert not writer.wire.is_paused
    assert len(stored(store)) == 22


async def test_what_is_sent_twice_is_stored_once() -> None:
    """By Update or as a diff: acknowledged again, and no row more in the log."""
    store = Store(":memory:")
    [update] = updates("one")
    async with running(store) as hub, anyio.create_task_group() as tasks:
        writer = Collab(hub, tasks)
        await writer.open()
        for message in (Update(update), Update(update), SyncStep2(update)):
            writer.say(Sync(message))
            await settled()
            assert writer.take() == [SyncStatus(is_stored=True)]
    assert len(store.engine.read(ConversationId("c"))) == 1


async def test_what_came_over_the_wire_is_in_the_conversation_soon() -> None:
    """The executor, lists and search see it: the conversation of this process follows."""
    store = Store(":memory:")
    conversation = store.join("c")
    heard: list[str] = []
    conversation.subscribe(lambda _: heard.append(texts(conversation.log().messages)[-1]))
    async with running(store) as hub:
        writer, other = Solo(hub), Solo(hub)
        other.take()
        writer.reader.receive(encode_frame(Update(updates("one")[0])))
        with anyio.fail_after(5):
            while heard != ["one"]:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        # It is relayed once: when it was committed.
        assert len(other.take()) == 1
        conversation.append("user", "two")
        assert len(other.take()) == 1


async def test_a_room_that_can_t_be_read_turns_its_member_away_for_now() -> None:
    """The disk is in the way of an answer: 1013, and nobody else is disturbed."""
    store = BrokenStore(":memory:")
    store.join("c").receive(updates("one")[0])
    async with running(store) as hub:
        store.cant_read = True
        client = Solo(hub)
        assert client.wire.closed is not None
        assert client.wire.closed[0] == 1013


async def test_presence_is_told_to_all_and_ends_with_the_socket() -> None:
    """Throttled, echoed to its sender, and over when it leaves."""
    here = encode_awareness([(7, 1, '{"name":"ann"}')])
    async with running(Store(":memory:")) as hub:
        one, other = Solo(hub), Solo(hub)
        for client in (one, other):
            client.take()
        for _ in range(3):
            one.reader.receive(encode_frame(Awareness(here)))
        await anyio.sleep(0.1)
        assert other.take() == [Awareness(here)]
        assert one.take()
        one.member.room.leave(one.member)
        assert other.take() == [Awareness(encode_awareness([(7, 2, "null")]))]


async def test_rights_that_are_taken_back_count_at_once() -> None:
    """Only reading is left: writes are refused, and the client is told; nothing is left: it leaves."""
    gate = FakeGate(ann=frozenset({Right.WRITE}))
    async with running(Store(":memory:"), gate) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)
        assert Authenticated(is_read_only=False) in await client.open(token="ann")
        gate.rights["ann"] = frozenset({Right.READ})
        gate.changed()
        await settled()
        assert client.take() == [Authenticated(is_read_only=True)]
        client.say(Sync(Update(updates("one")[0])))
        assert SyncStatus(is_stored=False) in client.take()
        del gate.rights["ann"]
        gate.changed()
        await settled()
        assert client.take() == [PermissionDenied("no such token")]
        client.say(Sync(SyncStep1(b"\x00")))
        assert client.take() == []


async def test_a_token_that_ends_soon_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, some time before; who shows a new one stays, who does not leaves when it ends."""
    gate, now_s = FakeGate(), [1000.0]
    gate.expires_s = 1020.0
    async with running(Store(":memory:"), gate) as hub, anyio.create_task_group() as tasks:
        monkeypatch.setattr(hub.admissions, "_wall_clock", lambda: now_s[0])
        stays, leaves = Collab(hub, tasks), Collab(hub, tasks)
        await stays.open()
        await leaves.open()
        for _ in range(2):
            hub.admissions.sweep()
        assert stays.take() == [TokenWanted()]
        gate.expires_s = 2000.0
        assert Authenticated(is_read_only=False) in await stays.open()
        now_s[0] = 1021.0
        hub.admissions.sweep()
        assert [type(body) for body in leaves.take()] == [TokenWanted, PermissionDenied]
        assert stays.take() == []


async def test_a_deleted_conversation_expels_everybody() -> None:
    """Each hears that it is gone, for good; what they still send is refused."""
    store = Store(":memory:")
    store.join("c").receive(updates("one")[0])
    async with running(store) as hub, anyio.create_task_group() as tasks:
        client, solo = Collab(hub, tasks), Solo(hub)
        await client.open()
        store.delete("c")
        stateless, close = client.take()
        assert isinstance(stateless, Stateless)
        assert json.loads(stateless.text)["status"] == "evicted"
        assert isinstance(close, Close)
        assert solo.wire.closed is not None
        assert solo.wire.closed[0] == 4404
        assert [type(body) for body in await client.open()] == [PermissionDenied]


async def test_one_document_s_end_is_not_that_of_its_group() -> None:
    """An update that comes with one for a deleted conversation, to one commit, is stored."""
    store = Store(":memory:")
    store.join("c").receive(updates("one")[0])
    async with running(store) as hub:
        gone, stays = Solo(hub, "c"), Solo(hub, "d")
        stays.take()
        first, second = updates("here", "again")
        # While the first is on its way, the next group gathers.
        stays.reader.receive(encode_frame(Update(first)))
        gone.reader.receive(encode_frame(Update(updates("two")[0])))
        stays.reader.receive(encode_frame(Update(second)))
        # Behind the room's back: it hears of it from the log.
        store.engine.delete(ConversationId("c"), at_ms=1)
        await settled()
        assert gone.wire.closed is not None
        assert gone.wire.closed[0] == 4404
        assert {type(frame) for frame in stays.take()} == {Update}
    assert stored(store, "d") == ["here", "again"]


async def test_documents_on_one_socket_are_bounded() -> None:
    """One more than allowed is denied; those that are open go on."""
    async with running(Store(":memory:"), limits=replace(Limits(), documents=2)) as hub:  # noqa: SIM117
        async with anyio.create_task_group() as tasks:
            client = Collab(hub, tasks)
            for address in ("a", "b"):
                assert Authenticated(is_read_only=False) in await client.open(address)
            assert [type(body) for body in await client.open("c")] == [PermissionDenied]


async def test_too_much_before_anybody_was_let_in_closes_the_socket() -> None:
    """Frames for a document wait for the token to be checked, but not without bound."""
    async with running(Store(":memory:")) as hub, anyio.create_task_group() as tasks:
        client = Collab(hub, tasks)

        client.say(Token("all"))
        for _ in range(1001):
            client.say(Sync(SyncStep1(b"\x00")))
        assert client.wire.closed is not None
        assert client.wire.closed[0] == 4400


async def test_an_idle_room_is_closed_and_its_conversation_leaves_memory() -> None:
    """When everybody has left, the document is only in the store."""
    store = Store(":memory:")
    async with running(store) as hub:
        client = Solo(hub)
        client.reader.receive(encode_frame(Update(updates("one")[0])))
        client.member.room.leave(client.member)
        hub.rooms.sweep(0)
        # Not while something is on its way to the disk.
        assert len(hub.rooms) == 1
        await settled()
        hub.rooms.sweep(0)
        assert len(hub.rooms) == 0
    assert stored(store) == ["one"]
