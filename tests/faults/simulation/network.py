"""
The network between clients and the daemon: it owns every frame that is under way.

A socket carries frames in order and loses none until it is cut, as TCP does. A *wild* one stands for relays
and broken programs between: what goes up on it may be reordered, doubled, dropped or cut in half.
The daemon's end is ASGI, so the real application is served, from its first line to its last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

ABNORMAL: Final = 1006
_TICK_S = 1e-6


@dataclass(frozen=True, slots=True)
class Manner:
    """How a socket treats frames that go up, by shares; ``slow_s`` is how long one down takes at most."""

    reordered: float = 0.0
    doubled: float = 0.0
    dropped: float = 0.0
    torn: float = 0.0
    slow_s: float = 0.0

    @property
    def is_honest(self) -> bool:
        """Whether it does what TCP does."""
        return not (self.reordered or self.doubled or self.dropped or self.torn)


HONEST: Final = Manner()
SLOW: Final = Manner(slow_s=2.0)
WILD: Final = Manner(reordered=0.3, doubled=0.2, dropped=0.15, torn=0.02)


class End(Protocol):
    """The client's end of a socket."""

    def opened(self) -> None:
        """The daemon accepted it."""

    def received(self, frame: bytes) -> None:
        """A frame came."""

    def closed(self, code: int, reason: str) -> None:
        """It is gone."""


class Tap(Protocol):
    """Who sees what passes the daemon's door."""

    def went_in(self, socket: Socket, frame: bytes, *, is_torn: bool) -> None:
        """The daemon has a frame."""

    def came_out(self, socket: Socket, frame: bytes) -> None:
        """The daemon has sent a frame."""

    def was_closed(self, socket: Socket, code: int, reason: str) -> None:
        """The daemon has closed a socket."""


class Socket:
    """One WebSocket."""

    def __init__(self, path: str, end: End, manner: Manner, random: Random, tap: Tap) -> None:
        self.path = path
        self.manner = manner
        self.is_open = False
        self.is_over = False
        self.failure: Exception | None = None
        self._end = end
        self._random = random
        self._tap = tap
        self._loop = asyncio.get_running_loop()
        self._up: asyncio.Queue[Message] = asyncio.Queue()
        self._up.put_nowait({"type": "websocket.connect"})
        self._last_up_s = self._last_down_s = 0.0
        self._is_alive: Callable[[], bool] = lambda: False

    # The client's end

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        manner, random = self.manner, self._random
        for _ in range(2 if random.random() < manner.doubled else 1):
            if random.random() < manner.dropped:
                continue
            is_torn = random.random() < manner.torn
            sent = frame[: random.randrange(len(frame))] if is_torn else frame
            at_s = self._loop.time() + self._draw_s()
            if random.random() >= manner.reordered:
                at_s = self._last_up_s = max(self._last_up_s + _TICK_S, at_s)
            event = {"type": "websocket.receive", "bytes": sent, "torn": is_torn}
            self._loop.call_at(at_s, self._arrive, event)

    def cut(self) -> None:
        """Lose the socket and what is under way; the daemon hears of it, perhaps much later."""
        if self.is_over:
            return
        self._over(ABNORMAL, "cut")
        at_s = self._loop.time() + self._random.choice([0.0, 0.01, 5.0, 40.0])
        self._loop.call_at(at_s, self._up.put_nowait, {"type": "websocket.disconnect", "code": ABNORMAL})

    def _arrive(self, event: Message) -> None:
        if not self.is_over:
            self._up.put_nowait(event)

    def _over(self, code: int, reason: str) -> None:
        if not self.is_over:
            self.is_open, self.is_over = False, True
            self._end.closed(code, reason)

    # The daemon's end

    async def serve(self, app: ASGIApp, is_alive: Callable[[], bool]) -> None:
        """Let the application have the other end; what it does once it is dead, nobody sees."""
        self._is_alive = is_alive
        path, _, query = self.path.partition("?")
        scope = {
            "type": "websocket",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "subprotocols": [],
        }
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - shown by the oracle
            self.failure = error if is_alive() else None
        finally:
            self._down(self._over, ABNORMAL, "the daemon is gone")

    async def _receive(self) -> Message:
        event = await self._up.get()
        if event["type"] == "websocket.receive" and self._is_alive():
            self._tap.went_in(self, event["bytes"], is_torn=event["torn"])
        return event

    async def _send(self, event: Message) -> None:
        if not self._is_alive():
            return
        if event["type"] == "websocket.accept":
            self._down(self._accepted)
        elif event["type"] == "websocket.send":
            self._tap.came_out(self, event["bytes"])
            self._down(self._received, event["bytes"])
        elif event["type"] == "websocket.close":
            self._tap.was_closed(self, event["code"], event["reason"])
            self._down(self._over, event["code"], event["reason"])
        if self.manner.slow_s:
            await asyncio.sleep(self._random.random() * self.manner.slow_s)

    def _down(self, call: Callable[..., None], *arguments: Any) -> None:
        self._last_down_s = max(self._last_down_s + _TICK_S, self._loop.time() + self._draw_s())
        self._loop.call_at(self._last_down_s, call, *arguments)

    def _accepted(self) -> None:
        if not self.is_over:
            self.is_open = True
            self._end.opened()

    def _received(self, frame: bytes) -> None:
        if not self.is_over:
            self._end.received(frame)

    def _draw_s(self) -> float:
        return self._random.choice([0.0001, 0.001, 0.02, 0.2]) * self._random.random()
