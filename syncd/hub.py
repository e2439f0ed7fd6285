"""The hub: rooms, the queue in front of the log, and everything that runs beside them, for one store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from crdt_conv import Store, StoreError
from crdt_conv.ids import now_ms
from syncd.auth import Gate
from syncd.counters import Counters
from syncd.limits import Limits
from syncd.logs.quotas import Quotas
from syncd.protocol import CloseCode
from syncd.rooms.commits import GroupCommit
from syncd.rooms.follower import Follower
from syncd.rooms.member import Slot
from syncd.rooms.room import Rooms
from syncd.rooms.worker import ThreadWorker, Worker
from syncd.sockets.admission import Admissions
from syncd.sockets.connection import Connection
from syncd.sockets.socket import Socket
from syncd.sockets.strangers import Strangers
from syncd.sockets.wire import ABNORMAL, Wire

ENDING = "the server ends: come back"
SWEEP_S = 5.0
"""How often presence expires, laggards are looked at and empty rooms are closed."""


class Hub:
    """What serves one store; see ``running``."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        *,
        limits: Limits | None = None,
        sweep_s: float = SWEEP_S,
        make_worker: Callable[[], Worker] = ThreadWorker,
    ) -> None:
        """
        Make a hub that does not run.

        Args:
            store: It is written by nobody else.
            gate: Decides who gets in.
            limits: What one client may cost.
            sweep_s: How often what is over is looked for.
            make_worker: Makes what writes to the log beside the event loop.
        """
        self.store = store
        self.gate = gate
        self.limits = limits or Limits()
        self.counters = Counters()
        self.quotas = Quotas()
        self.commits: GroupCommit[Slot] = GroupCommit(store.append_many, make_worker)
        self.follower = Follower(store)
        self.rooms = Rooms(
            store,
            self.commits,
            self.follower,
            limits=self.limits,
            counters=self.counters,
            clock=time.monotonic,
        )
        self.admissions = Admissions(gate, self.counters, time.time)
        self.strangers = Strangers(self.limits)
        self.sockets: set[Socket] = set()
        self.is_running = False
        self.tasks: TaskGroup
        """Where connections have done what takes time; there while it runs."""
        self.is_ending = False
        self._sweep_s = sweep_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Commit, follow and sweep; when this ends, everything that was taken in is on disk."""
        unsubscribe = (
            self.store.subscribe(self.rooms.on_change),
            self.store.subscribe_deleted(self.rooms.on_deleted),
        )
        async with anyio.create_task_group() as tasks:
            self.tasks = tasks
            for run in (self._sweep, self.follower.run, self.admissions.run):
                tasks.start_soon(run)
            async with anyio.create_task_group() as committing:
                committing.start_soon(self.commits.run)
                self.is_running = True
                try:
                    yield
                finally:
                    self.is_running = False
                    self.close_sockets()
                    self.commits.close()
            tasks.cancel_scope.cancel()
        self.follower.catch_up()
        for stop in unsubscribe:
            stop()

    async def why_not_ready(self) -> str:
        """Return why updates are not taken now; nothing where they are."""
        if self.is_ending:
            return "ending"
        if not self.is_running:
            return "starting"
        if self.commits.has_failed and not await anyio.to_thread.run_sync(self._can_write):
            return "the store can't be written"
        return ""

    def _can_write(self) -> bool:
        # Tried, for nobody sends updates to a server that is not ready.
        try:
            self.store.engine.set_setting("last_probe", str(now_ms()))
        except StoreError:
            return False
        self.commits.has_failed = False
        return True

    def is_settled(self, conversation_id: str) -> bool:
        """Whether all that stands in the log of a conversation was told of in this process."""
        room = self.rooms.get(conversation_id)
        return not self.follower.is_behind(conversation_id) and (room is None or room.is_settled)

    def open_socket(
        self, wire: Wire, connection: Connection | None = None, kind: type[Socket] = Socket
    ) -> Socket:
        """Return a socket over a wire, which is swept until ``close_socket``."""
        socket = kind(
            wire,
            self.limits,
            self.counters,
            clock=time.monotonic,
            later=asyncio.get_running_loop().call_later,
            connection=connection,
        )
        self.sockets.add(socket)
        if not self.is_running:
            # An application that it is mounted in may serve on while it ends.
            socket.close(CloseCode.RESTART, ENDING)
        return socket

    def close_socket(self, socket: Socket, code: int = ABNORMAL) -> None:
        """Forget a socket that is gone: closed by us, or by its client with a code."""
        socket.connection.closed(*(socket.closing or (code, "")))
        self.sockets.discard(socket)

    def close_sockets(self) -> None:
        """Have every client come back later: this server ends."""
        for socket in tuple(self.sockets):
            socket.close(CloseCode.RESTART, ENDING)

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(self._sweep_s)
            now_s = time.monotonic()
            self.rooms.sweep(now_s)
            self.admissions.sweep()
            for socket in tuple(self.sockets):
                socket.sweep(now_s)
            self.follower.retry()
            self.follower.let_go(lambda conversation_id: self.rooms.get(conversation_id) is not None)
            # Derived: who reads or searches beside us finds it, and after a crash less is made anew.
            with suppress(StoreError):
                self.store.flush()
