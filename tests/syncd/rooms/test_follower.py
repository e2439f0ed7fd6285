"""The follower: who waits is served soon, and the others when they have gathered something."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from crdt_conv import Change, Conversation, ConversationId, Store, Target
from syncd.rooms import follower as module
from syncd.rooms.follower import Follower
from tests.replicas import replica, texts

pytestmark = pytest.mark.anyio

NEVER_S = 1e6


@pytest.fixture
def store() -> Store:
    """Return an empty store."""
    return Store(":memory:")


@pytest.fixture
def follower(store: Store, monkeypatch: pytest.MonkeyPatch) -> Follower:
    """Return a follower that comes to those for whom nobody waits only when it is asked to."""
    monkeypatch.setattr(module, "LATER_S", NEVER_S)
    return Follower(store)


def said_hello() -> Conversation:
    """Return a device's replica with one message."""
    source = replica()
    source.append("user", "hello")
    return source


def note(follower: Follower, store: Store, source: Conversation, name: str = "c") -> None:
    """Put what a device has into the log, as a commit does, and tell the follower."""
    seq = store.append(ConversationId(name), source.encode(), "device")
    follower.note(name, seq, source.encode())


def said(store: Store) -> list[str]:
    """Return what the conversation in this process says."""
    return texts(store.join("c").log().messages)


async def test_a_conversation_that_somebody_watches_is_followed_soon(
    store: Store, follower: Follower
) -> None:
    """Whoever subscribed to it hears of what a client sent."""
    source, heard = said_hello(), anyio.Event()
    conversation = store.join("c")
    conversation.subscribe(lambda _: heard.set())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.run)
        note(follower, store, source)
        with anyio.fail_after(10):
            await heard.wait()
        tasks.cancel_scope.cancel()
    assert texts(conversation.log().messages) == ["hello"]


async def test_a_run_is_seen_soon_though_nobody_watches(store: Store, follower: Follower) -> None:
    """The executor, which hears of all changes, is told of a new run."""
    source, heard = said_hello(), anyio.Event()
    store.subscribe(lambda change: heard.set() if change.runs else None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.run)
        note(follower, store, source)
        source.runs.request(Target("llamacpp"))
        note(follower, store, source)
        with anyio.fail_after(10):
            await heard.wait()
        tasks.cancel_scope.cancel()


async def test_what_nobody_waits_for_is_applied_as_one_change(store: Store, follower: Follower) -> None:
    """A stream of tokens costs little where nobody reads along."""
    source, changes = replica(), list[Change]()
    store.subscribe(changes.append)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.run)
        for number in range(3):
            source.append("user", f"message {number}")
            note(follower, store, source)
            await anyio.lowlevel.checkpoint()
        assert not changes
        await follower.caught_up()
        tasks.cancel_scope.cancel()
    assert len(changes) == 1
    assert said(store) == ["message 0", "message 1", "message 2"]


async def test_others_have_their_turn_while_it_catches_up(store: Store, follower: Follower) -> None:
    """Many conversations that are behind don't keep the event loop for long."""
    for name in ("c", "d", "e"):
        note(follower, store, said_hello(), name)
    behind = list[int]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.caught_up)
        while follower.behind:
            behind.append(follower.behind)
            await anyio.lowlevel.checkpoint()
    assert behind[0] == 3
    assert 0 < behind[-1] < 3


async def test_a_turn_that_is_overdue_is_taken_at_once() -> None:
    """Whose time has passed while the loop was busy is followed; no daemon ends of it."""
    turns = module._Turns(-1.0, 1.0)
    turns.add("c")
    assert await turns.take() == "c"
