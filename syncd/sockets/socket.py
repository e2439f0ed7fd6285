"""
One WebSocket as rooms see it: what it may send, what waits for it, and when it is too slow.

While its peer reads more slowly than we write, updates are held and merged: however long it
lags, it is sent one update for each document when it reads on. Other messages are few and are
written at once; all of it is bounded, and beyond the bound, or after some time, the socket is
closed with 1013: its client comes back and asks for what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from crdt_conv import MalformedUpdate
from crdt_conv.yjs.updates import merge_updates
from syncd.counters import Counters
from syncd.limits import Limits
from syncd.protocol import CloseCode
from syncd.sockets.connection import Connection
from syncd.sockets.throttle import Throttle
from syncd.sockets.wire import Outgoing, Wire

Clock = Callable[[], float]
Later = Callable[[float, Callable[[], None]], object]

MERGED_AT = 64
"""So many held updates are merged into one before the reader asks, so that they take less room."""


class Held(Protocol):
    """A member of a room for whom updates are held."""

    def relayed(self, update: bytes) -> bytes:
        """Return the frame that holds an update."""

    def caught_up(self) -> None:
        """Hear that the socket reads on."""


class Socket:
    """A wire with bounds. Used from one event loop; nothing here waits or raises."""

    def __init__(
        self,
        wire: Wire,
        limits: Limits,
        counters: Counters,
        *,
        clock: Clock,
        later: Later,
        connection: Connection | None = None,
    ) -> None:
        """
        Bound a wire.

        Args:
            wire: An accepted WebSocket.
            limits: The bounds.
            counters: Where what happens is counted.
            clock: Seconds that never go back.
            later: Calls a function after so many seconds.
            connection: What is written down of it.
        """
        self.limits = limits
        self.connection = connection or Connection()
        self.closing: tuple[int, str] | None = None
        self._wire = wire
        self._counters = counters
        self._clock = clock
        self._later = later
        self._held: dict[Held, list[bytes]] = {}
        self._held_bytes = 0
        self._held_count = 0
        self._written_bytes = 0
        self._lags_since: float | None = None
        self._uncommitted_bytes = 0
        self._is_paused = False
        self._is_throttled = False
        self._throttle = Throttle(limits.bytes_per_s, limits.frames_per_s)
        self.is_closed = False

    # Out

    @property
    def is_lagging(self) -> bool:
        """Whether the peer reads more slowly than we write."""
        return self._lags_since is not None

    @property
    def is_congested(self) -> bool:
        """Whether something that was sent is still here."""
        return self._wire.is_congested

    @property
    def held_bytes(self) -> int:
        """What waits for the peer to read on."""
        return self._held_bytes

    def send(self, message: Outgoing) -> None:
        """Send a message that can't be merged with others."""
        if self.is_closed:
            return
        if self._wire.is_congested:
            self._lag()
            self._written_bytes += len(message)
            self._check_lag()
        self._wire.write(message)

    def send_times(self, message: Outgoing, count: int) -> None:
        """Send a small message several times over."""
        if count == 1 or self._wire.is_congested:
            for _ in range(count):
                self.send(message)
        elif not self.is_closed:
            self._wire.write(message, count)

    def relay(self, member: Held, update: bytes, message: Outgoing) -> bool:
        """Send an update, or hold it until the peer has read what came before; returns whether it is sent."""
        if self._lags_since is None and self._wire.offer(message):
            return True
        if not self.is_closed:
            self._lag()
            self._hold(member, update)
        return False

    def owe(self, member: Held) -> None:
        """Tell a member when the peer reads on, though nothing may be held for it till then."""
        self._held.setdefault(member, [])

    def _lag(self) -> None:
        if self._lags_since is None:
            self._lags_since = self._clock()

    def _hold(self, member: Held, update: bytes) -> None:
        held = self._held.setdefault(member, [])
        held.append(update)
        self._held_bytes += len(update)
        self._held_count += 1
        self._counters.merged += 1
        if len(held) >= MERGED_AT:
            self._held_bytes -= sum(map(len, held))
            held[:] = _merged(held)
            self._held_bytes += sum(map(len, held))
        self._check_lag()

    def _check_lag(self) -> None:
        if self._held_bytes + self._written_bytes > self.limits.lag_bytes:
            self._too_slow()

    def _too_slow(self) -> None:
        if not self.is_closed:
            size = self._held_bytes + self._written_bytes
            self.connection.let_go(self._held_count, size, self._lagged_s())
        self.close(CloseCode.TRY_AGAIN_LATER, "too slow: come back and catch up")

    def _lagged_s(self) -> float:
        return 0.0 if self._lags_since is None else self._clock() - self._lags_since

    def drained(self) -> None:
        """Send what was held: the peer has read what came before."""
        if self.is_closed:
            return
        if self._held_count:
            self.connection.caught_up(self._held_count, self._lagged_s())
            self._held_count = 0
        held, self._held = self._held, {}
        self._lags_since = None
        self._held_bytes = self._written_bytes = 0
        for member, updates in held.items():
            for update in _merged(updates):
                self.relay(member, update, Outgoing(member.relayed(update)))
            member.caught_up()

    def forget(self, member: Held) -> None:
        """Hold nothing any more for one who left its room."""
        self._held_bytes -= sum(map(len, self._held.pop(member, ())))

    def sweep(self, now_s: float) -> None:
        """Close it where it lagged for too long."""
        if self._lags_since is not None and now_s - self._lags_since > self.limits.lag_s:
            self._too_slow()

    def close(self, code: int, reason: str) -> None:
        """Close behind what was written."""
        if not self.is_closed:
            self.is_closed = True
            self.closing = (code, reason)
            self._held.clear()
            self._held_bytes = 0
            self._counters.close(code)
            self._wire.close(code, reason)

    # In

    def admits(self, size: int) -> bool:
        """
        Count a message that came; who sends too much is read more slowly.

        Returns:
            Whether it is to be handled: not any more when the socket is being closed.
        """
        wait_s = self._throttle.take(size, self._clock())
        if wait_s > 0 and not self._is_throttled:
            self._is_throttled = True
            self.connection.throttled()
            self._wire.pause()
            self._later(wait_s, self._unthrottle)
        return not self.is_closed

    def _unthrottle(self) -> None:
        self._is_throttled = False
        self._read_on()

    def _read_on(self) -> None:
        if not self._is_throttled and not self._is_paused:
            self._wire.resume()

    def submitted(self, size: int) -> None:
        """Count bytes that are on their way to the disk; with too many of them nothing more is read."""
        self.connection.updates += 1
        self.connection.bytes += size
        self._uncommitted_bytes += size
        if self._uncommitted_bytes > self.limits.uncommitted_bytes and not self._is_paused:
            self._is_paused = True
            self._wire.pause()

    def settled(self, size: int) -> None:
        """Count bytes that are on disk, or refused."""
        self._uncommitted_bytes -= size
        if self._is_paused and self._uncommitted_bytes <= self.limits.uncommitted_bytes // 2:
            self._is_paused = False
            self._read_on()


def _merged(updates: list[bytes]) -> list[bytes]:
    if len(updates) <= 1:
        return updates
    try:
        return [merge_updates(updates)]
    except MalformedUpdate:
        return updates
