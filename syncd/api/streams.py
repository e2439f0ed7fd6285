"""
Server-sent events: a feed's reader as an answer that goes on.

https://html.spec.whatwg.org/multipage/server-sent-events.html. It ends when the conversation is
deleted, the caller's rights or token end, or the server does; a client comes back by itself
with ``Last-Event-ID``, and is told what it missed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from syncd.api.encoding import encode_json
from syncd.api.feed import DELETED, Feed, Reader
from syncd.api.missed import Topic
from syncd.auth import AccessDenied, Gate, Grant, Right

HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 2000
"""When a client comes back after an end."""
STREAMS: Final = 1000
"""So many streams there may be at once."""

HEADERS: Final = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"))

Show = Callable[[Topic], Awaitable[Any]]
"""Returns how something stands now, as JSON; ``None`` where there is nothing to show."""


def feed_of(app: Starlette) -> Feed:
    """Return an application's feed, made when first asked for."""
    feed: Feed | None = getattr(app.state, "feed", None)
    if feed is None:
        hub = app.state.hub
        feed = app.state.feed = Feed(hub.store, is_settled=hub.is_settled)
    return feed


def end_streams(app: Starlette) -> None:
    """End all streams of an application; call it when its server begins to end."""
    feed_of(app).close()


def encode_event(kind: str, data: Any, event_id: str) -> bytes:
    """Return one event."""
    return f"event: {kind}\nid: {event_id}\ndata: ".encode() + encode_json(data) + b"\n\n"


class Rights:
    """Whether a caller may go on reading."""

    def __init__(self, gate: Gate, grant: Grant, ask: Callable[[], Awaitable[Grant]]) -> None:
        """
        Begin with what was granted.

        Args:
            gate: Says when to ask again.
            grant: What it said first.
            ask: Asks again.
        """
        self._gate = gate
        self._grant = grant
        self._ask = ask
        self._changed = anyio.Event()

    def _hear(self) -> None:
        self._changed.set()

    async def until_revoked(self) -> None:
        """Wait until the caller may not read any more."""
        stop = self._gate.watch(self._hear)
        try:
            while self._left_s() > 0 and self._grant.may(Right.READ):
                with anyio.move_on_after(self._left_s()):
                    await self._changed.wait()
                    self._changed = anyio.Event()
                    await self._ask_again()
        except AccessDenied:
            return
        finally:
            stop()

    async def _ask_again(self) -> None:
        try:
            self._grant = await self._ask()
        except AccessDenied as error:
            # Nobody can say now: what was granted holds on.
            if 4400 <= error.code <= 4499:
                raise

    def _left_s(self) -> float:
        expires_s = self._grant.expires_s
        return float("inf") if expires_s is None else expires_s - time.time()


class EventStream:
    """An ASGI answer."""

    def __init__(
        self, reader: Reader, show: Show, rights: Rights, leave: Callable[[], None], *, pause_s: float = 0.0
    ) -> None:
        """
        Make an answer.

        Args:
            reader: What waits to be told.
            show: How that stands.
            rights: Whether it may be.
            leave: Called at the end.
            pause_s: How long more is gathered before it is told.
        """
        self._pause_s = pause_s
        self._reader = reader
        self._show = show
        self._rights = rights
        self._leave = leave

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until either end has enough."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS]})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen, receive, tasks.cancel_scope)
                tasks.start_soon(self._watch)
                await self._write(send)
                tasks.cancel_scope.cancel()
        finally:
            self._leave()

    async def _listen(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _watch(self) -> None:
        await self._rights.until_revoked()
        self._reader.end()

    async def _write(self, send: Send) -> None:
        async def say(data: bytes, *, is_last: bool = False) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": not is_last})

        reader = self._reader
        await say(f"retry: {RETRY_MS}\n".encode() + encode_event("ready", {}, reader.event_id))
        while True:
            while (topic := reader.take()) is not None:
                data = await self._show(topic)
                if data is not None:
                    await say(encode_event(topic.kind, data, reader.event_id))
                if topic == DELETED:
                    break
            if reader.has_ended:
                break
            await anyio.sleep(self._pause_s)
            with anyio.move_on_after(HEARTBEAT_S) as pause:
                await reader.wait()
            if pause.cancelled_caught:
                await say(b": still here\n\n")
        await say(b"", is_last=True)
