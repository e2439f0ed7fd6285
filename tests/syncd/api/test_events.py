"""What happens, as server-sent events, over real sockets."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent, aconnect_sse
from starlette.applications import Starlette

from crdt_conv import Conversation, Store, Target
from syncd import api
from syncd.api import feed as feeds
from syncd.api.missed import Topic
from syncd.api.streams import feed_of
from syncd.auth import Right
from syncd.view import message_json
from tests.replicas import copy_of
from tests.syncd.api.conftest import AUTHORIZED, TOKEN, FakeGate, served
from tests.syncd.servers import until

pytestmark = pytest.mark.anyio

PATH = "/api/conversations/c/events"


@pytest.fixture
def conversation(store: Store) -> Conversation:
    """Return what happens is about."""
    return store.create("Trip", conversation_id="c")


class Listener:
    """Reads events one at a time."""

    def __init__(self, source: EventSource) -> None:
        self._events = source.aiter_sse()
        self.last_id = ""

    async def next(self) -> tuple[str, Any]:
        with anyio.fail_after(10):
            event: ServerSentEvent = await anext(self._events)
        self.last_id = event.id
        return event.event, json.loads(event.data)

    async def rest(self) -> list[str]:
        with anyio.fail_after(10):
            return [event.event async for event in self._events]


@asynccontextmanager
async def listening(url: str, last_id: str | None = None, *, path: str = PATH) -> AsyncIterator[Listener]:
    """Yield a listener that has been told that it is ready."""
    headers = AUTHORIZED | ({"Last-Event-ID": last_id} if last_id is not None else {})
    async with (
        httpx.AsyncClient(base_url=url, headers=headers) as http,
        aconnect_sse(http, "GET", path) as source,
    ):
        listener = Listener(source)
        assert await listener.next() == ("ready", {})
        yield listener


async def test_everything_that_happens_is_told(app: Starlette, conversation: Conversation) -> None:
    """Messages, runs, title and branches, each as it stands, once it is durable."""
    async with served(app) as url, listening(url) as events:
        message = conversation.append("user", "Where?")
        assert await events.next() == ("message", message_json(conversation, message))
        writer = conversation.stream()
        assert (await events.next())[1]["status"] == "streaming"
        writer.write("To the")
        assert (await events.next())[1]["text"] == "To the"
        run = conversation.runs.request(Target("a"))
        assert await events.next() == ("run", run.as_json())
        conversation.title = "Sea"
        assert await events.next() == ("title", {"id": "c", "title": "Sea"})
        conversation.fork("b", message.id)
        kind, shown = await events.next()
        assert (kind, shown["branches"][1]) == (
            "branches",
            {"name": "b", "title": "b", "archived": False, "heads": [message.id]},
        )


async def test_what_comes_from_elsewhere_is_told(app: Starlette, conversation: Conversation) -> None:
    """An update of another replica is told by what it changed; other conversations are not told of."""
    other = copy_of(conversation)
    message = other.append("user", "from afar")
    async with served(app) as url, listening(url) as events:
        conversation._log.create().append("user", "elsewhere")  # type: ignore[attr-defined]
        conversation.receive(other.encode())
        kind, shown = await events.next()
        assert (kind, shown["id"]) == ("message", message.id)


async def test_a_client_that_comes_back_gets_what_it_missed(
    app: Starlette, conversation: Conversation
) -> None:
    """With the id of the last event it saw: each thing once, as it stands now, nothing again."""
    async with served(app) as url:
        async with listening(url) as events:
            conversation.append("user", "one")
            await events.next()
            last_id = events.last_id
        writer = conversation.stream()
        for piece in "abc":
            writer.write(piece)
        conversation.title = "Sea"
        async with listening(url, last_id) as events:
            kind, shown = await events.next()
            assert (kind, shown["text"]) == ("message", "abc")
            assert (await events.next())[0] == "title"
            last_id = events.last_id
        async with listening(url, last_id) as events:
            conversation.append("user", "new")
            assert (await events.next())[1]["text"] == "new"


async def test_ready_can_be_resumed_from(app: Starlette, conversation: Conversation) -> None:
    """Who saw nothing but the beginning misses nothing."""
    async with served(app) as url:
        async with listening(url) as events:
            last_id = events.last_id
        conversation.append("user", "one")
        async with listening(url, last_id) as events:
            assert (await events.next())[1]["text"] == "one"


@pytest.mark.parametrize(
    "last_id", ["", "x", "12", "-1", "0", "other-0", "{boot}-99999", "{boot}-x", "{boot}--1", "{boot}-²"]
)
async def test_a_gap_that_nobody_remembers_is_told(
    app: Starlette, conversation: Conversation, last_id: str
) -> None:
    """An id of another start, of the future, or no id at all: read the log again."""
    conversation.append("user", "one")
    if not last_id.isascii():
        # No header carries it; the feed is asked itself.
        reader = feed_of(app).open("c", last_id.format(boot=feed_of(app)._boot))
        assert reader.take() == feeds.RESET
        return
    async with served(app) as url:
        boot = feed_of(app)._boot
        async with listening(url, last_id.format(boot=boot)) as events:
            assert (await events.next())[0] == "reset"
            conversation.append("user", "two")
            assert (await events.next())[1]["text"] == "two"


async def test_what_was_forgotten_is_told(store: Store, conversation: Conversation) -> None:
    """Changes of others push out what is remembered; the log knows it, and behind a snapshot it is a gap."""
    feed, other = feeds.Feed(store, kept=3), store.create()
    start = feed.open("c").event_id
    conversation.append("user", "one")
    seen = feed.open("c").event_id
    for number in range(2):
        other.append("user", str(number))
    assert feed.open("c", start).take() == Topic("message", conversation.log().messages[0].id)
    other.append("user", "2")
    message = Topic("message", conversation.log().messages[0].id)
    assert (feed.open("c", seen).take(), feed.open("c", start).take()) == (None, message)
    store.compact("c")
    assert (feed.open("c", seen).take(), feed.open("c", start).take()) == (None, feeds.RESET)
    feed.close()


async def test_ids_outlive_the_server(store: Store, conversation: Conversation) -> None:
    """Another start tells what stands in the log behind an id, each thing once, and nothing else."""
    before = feeds.Feed(store)
    reader = before.open("c")
    first = conversation.append("user", "one")
    reader.take()
    before.close()
    writer = conversation.stream()
    writer.write("two")
    conversation.fork("b", first.id)
    conversation.title = "Sea"
    feed = feeds.Feed(store)
    again = feed.open("c", reader.event_id)
    assert set(iter(again.take, None)) == {
        Topic("message", writer.message_id),
        Topic("branches"),
        Topic("title"),
    }
    assert feed.open("c", again.event_id).take() is None
    assert feeds.Feed(store).open("c", again.event_id).take() is None


async def test_an_id_covers_no_more_than_was_told(store: Store, conversation: Conversation) -> None:
    """While something stands in the log that was not told of, an id leads another start to it."""
    told = set[str]()
    feed = feeds.Feed(store, is_settled=lambda name: name in told)
    told.add("c")
    reader = feed.open("c")
    told.clear()
    other = copy_of(conversation)
    message = other.append("user", "from afar")
    # On disk, and not applied yet, when something else is told.
    seq = store.append(conversation.id, other.encode(), None)
    conversation.stream()
    assert reader.take() is not None
    assert Topic("message", message.id) in iter(feeds.Feed(store).open("c", reader.event_id).take, None)
    told.add("c")
    conversation.apply_logged(other.encode(), seq)
    conversation.append("user", "later")
    while reader.take():
        pass
    assert feeds.Feed(store).open("c", reader.event_id).take() is None


async def test_all_conversations_are_told_of(app: Starlette, store: Store, gate: FakeGate) -> None:
    """Which are new, changed or deleted, of those that one may read; and it resumes."""
    gate.rights[TOKEN] = {"mine": {Right.READ}, "gone": {Right.READ}}
    async with served(app) as url:
        async with listening(url, path="/api/events") as events:
            store.create(conversation_id="hidden")
            store.create(conversation_id="mine").append("user", "x")
            store.create(conversation_id="gone")
            assert await events.next() == ("conversation", {"id": "mine"})
            assert await events.next() == ("conversation", {"id": "gone"})
            store.delete("gone")
            assert await events.next() == ("deleted", {"id": "gone"})
            last_id = events.last_id
        store.open("mine").append("user", "y")
        async with listening(url, last_id, path="/api/events") as events:
            assert await events.next() == ("conversation", {"id": "mine"})
        async with listening(url, "other-1-1", path="/api/events") as events:
            assert (await events.next())[0] == "reset"
            gate.revoke()
            assert await events.rest() == []


async def test_a_slow_reader_gets_the_latest(store: Store, conversation: Conversation) -> None:
    """Many changes of one message wait as one; too many things become one word to read again."""
    feed = feeds.Feed(store)
    reader = feed.open("c")
    first = conversation.append("user", "one")
    writer = conversation.stream()
    for _ in range(100):
        writer.write("x")
    assert [reader.take(), reader.take(), reader.take()] == [
        Topic("message", first.id),
        Topic("message", writer.message_id),
        None,
    ]
    for number in range(feeds.WAITING + 5):
        reader.offer(1000 + number, [Topic("message", str(number))])
    assert (reader.take(), len(reader._waiting)) == (feeds.RESET, 4)
    feed.close()


async def test_ids_never_skip_what_waits(store: Store, conversation: Conversation) -> None:
    """While the second of two things waits, the id of the first one leads to it."""
    feed = feeds.Feed(store)
    reader = feed.open("c")
    writer = conversation.stream()
    second = conversation.append("user", "two")
    writer.write("more")
    assert reader.take() == Topic("message", writer.message_id)
    again = feed.open("c", reader.event_id)
    assert again.take() == Topic("message", second.id)
    assert again.take() == Topic("message", writer.message_id)
    assert feed.open("c", again.event_id).take() is None
    feed.close()


async def test_a_thing_that_changes_again_hides_no_other(store: Store) -> None:
    """Something that changed between two changes of another is not passed over by an id."""
    feed = feeds.Feed(store)
    conversation = store.create(conversation_id="c")
    reader = feed.open("c")
    first, second = conversation.append("user", "one"), conversation.stream()
    third = conversation.append("user", "three")
    second.write("more")
    assert reader.take() == Topic("message", first.id)
    again = feed.open("c", reader.event_id)
    waiting = {topic.id for topic in iter(again.take, None)}
    assert waiting == {second.message_id, third.id}
    feed.close()


async def test_a_deletion_is_the_end(app: Starlette, store: Store, conversation: Conversation) -> None:
    """Whoever listens hears of it as the last event; coming back finds nothing."""
    async with served(app) as url:
        async with listening(url) as events:
            conversation.append("user", "x")
            store.delete("c")
            assert await events.next() == ("deleted", {"id": "c"})
            assert await events.rest() == []
        async with httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as http:
            assert (await http.get(PATH)).status_code == 410


async def test_who_loses_the_right_hears_no_more(
    app: Starlette, gate: FakeGate, conversation: Conversation
) -> None:
    """Revoked, the stream ends, and coming back is refused; a right that stays keeps it."""
    async with served(app) as url, listening(url) as events:
        for callback in gate.watchers:
            callback()
        conversation.append("user", "one")
        assert (await events.next())[0] == "message"
        gate.revoke()
        assert await events.rest() == []
        async with httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as http:
            assert (await http.get(PATH)).status_code == 401


@pytest.mark.usefixtures("conversation")
async def test_read_is_needed_all_the_time(app: Starlette, gate: FakeGate) -> None:
    """Rights without reading end it, too."""
    async with served(app) as url, listening(url) as events:
        gate.rights["let me in"] = {"c": set[Right]()}
        for callback in tuple(gate.watchers):
            callback()
        assert await events.rest() == []


@pytest.mark.usefixtures("conversation")
async def test_a_token_that_ends_ends_the_stream(app: Starlette, gate: FakeGate) -> None:
    """At its time, without a word from anybody."""
    gate.expires_s = time.time() + 0.3
    async with served(app) as url, listening(url) as events:
        assert await events.rest() == []


@pytest.mark.usefixtures("conversation")
async def test_who_leaves_is_forgotten(app: Starlette, gate: FakeGate) -> None:
    """Neither feed nor gate holds on to a reader that hung up."""
    async with served(app) as url:
        async with listening(url):
            assert (len(feed_of(app)), len(gate.watchers)) == (1, 1)
        await until(lambda: (len(feed_of(app)), len(gate.watchers)) == (0, 0))


async def test_a_server_that_ends_ends_streams(app: Starlette, conversation: Conversation) -> None:
    """At once, and in order: what waits is told, the body has its end, and a late comer is sent away."""
    began = time.monotonic()
    async with served(app) as url, listening(url) as events:
        conversation.append("user", "x")
        api.end_streams(app)
        assert await events.rest() == ["message"]
        async with httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as http:
            answer = await http.get(PATH)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert time.monotonic() - began < 4


@pytest.mark.usefixtures("conversation")
async def test_silence_is_broken(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment now and then keeps proxies from closing, and shows a dead client."""
    monkeypatch.setattr("syncd.api.streams.HEARTBEAT_S", 0.02)
    async with (
        served(app) as url,
        httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as http,
        http.stream("GET", PATH) as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
        text = ""
        async for piece in answer.aiter_text():
            text += piece
            if text.count(": still here") == 3:
                break
        assert text.startswith("retry: 2000\nevent: ready\nid: ")


@pytest.mark.usefixtures("conversation")
async def test_there_is_room_for_so_many(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream too many is sent away, and told when to come back."""
    monkeypatch.setattr("syncd.api.events.STREAMS", 1)
    async with (
        served(app) as url,
        listening(url),
        httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as http,
    ):
        assert (await http.get(PATH)).status_code == 503
