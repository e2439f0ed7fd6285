"""The daemon as one process on the simulated machine: the real application over a real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, cast

from starlette.types import Message

from crdt_conv import Store, StoreError
from crdt_conv.engine import Engine
from crdt_conv.ids import ConversationId
from crdt_conv.store import SqliteEngine
from crdt_conv.store.compaction import compact_log
from syncd.app import create_app
from syncd.auth import Right
from syncd.hub import Hub
from tests.faults.simulation.clients import TOKEN
from tests.faults.simulation.disk import Disk, Image, Loss
from tests.faults.simulation.loop import SeededWorker
from tests.faults.simulation.network import Socket
from tests.syncd.fakes import FakeGate

FILE = "chats.db"


class OneAtATimeStore(Store):
    """A store that waits for what its own thread does, which no seed orders."""

    def delete(self, conversation_id: str) -> None:
        try:
            super().delete(conversation_id)
        finally:
            self._compactor.wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP request led to."""

    status: int
    body: Any


class Process:
    """One run of the daemon, from its start to a stop, or to a fault that nobody was told of."""

    def __init__(
        self,
        disk: Disk,
        random: Random,
        beside: Callable[[Hub], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """Begin a run; ``beside`` is what the process does besides serving."""
        self.disk = disk
        self.gate = FakeGate()
        self.is_alive = True
        self.is_ready = False
        self.error: StoreError | None = None
        """Why it could not be started."""
        self._random = random
        self._beside = beside
        self._stopping = asyncio.Event()
        self._sockets: dict[Socket, asyncio.Task[None]] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._main = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            store = OneAtATimeStore(self.disk.folder / FILE)
        except StoreError as error:
            self.error, self.is_alive = error, False
            return
        with store:
            self.store = store
            assert isinstance(store.engine, SqliteEngine)
            # Pages, so that a short run has checkpoints, too.
            store.engine.connection.run(f"pragma wal_autocheckpoint = {self._random.choice([5, 50, 1000])}")
            # Often, so that what is swept away while something is under way shows.
            sweep_s = self._random.choice([0.02, 5.0])
            hub = Hub(store, self.gate, sweep_s=sweep_s, make_worker=lambda: SeededWorker(self._random))
            self._app = create_app(hub)
            async with hub.running(), self._beside(hub):
                self.is_ready = True
                await self._stopping.wait()
                self.is_ready = False
            await self._end_connections()

    async def started(self) -> bool:
        """Wait until clients can connect; returns whether they can."""
        while not (self.is_ready or self._main.done()):  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(0.001)
        return self.is_ready

    # What comes from outside

    def allow(self, rights: frozenset[Right]) -> None:
        """Have everybody do no more than this from now on."""
        self.gate.rights[TOKEN] = rights
        self.gate.changed()

    def connect(self, socket: Socket) -> None:
        """Serve a socket."""
        self._sockets[socket] = asyncio.create_task(socket.serve(self._app, lambda: self.is_alive))

    async def request(self, method: str, path: str, body: object = None) -> Answer | None:
        """Make an HTTP request; returns nothing where the process died before it answered."""
        got: list[Message] = []
        content = b"" if body is None else json.dumps(body).encode()

        async def receive() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            if self.is_alive:
                got.append(message)

        headers = {"host": "localhost", "authorization": "Bearer all", "content-type": "application/json"}
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        task = asyncio.create_task(self._app(scope, receive, send))
        self._requests.add(task)
        await asyncio.wait([task])
        self._requests.discard(task)
        if len(got) < 2:
            return None
        text = b"".join(message.get("body", b"") for message in got[1:])
        return Answer(got[0]["status"], json.loads(text or "null"))

    def begin_compaction(self, conversation: str) -> Callable[[], None]:
        """Make a snapshot; returns the way to put it in place, which a thread would do later."""
        later = _Later(self.store.engine)
        compact_log(cast("Engine", later), ConversationId(conversation))
        return later.replace_now

    # Ends

    def crash_after(self, operations: int, loss: Loss) -> None:
        """Die at a later operation of the disk."""
        self.disk.crash_after(operations, loss, self._fell)

    def crash(self, loss: Loss) -> None:
        """Die now."""
        self.disk.crash(loss)
        self._fell()

    def _fell(self) -> None:
        self.is_alive = False

    async def stop(self) -> None:
        """Stop in good order."""
        self._stopping.set()
        await self._main
        self.is_alive = False

    async def bury(self) -> Image:
        """End what runs on after its death, which nobody sees; returns what is left on the disk."""
        self._stopping.set()
        await asyncio.wait([self._main])
        await self._end_connections()
        if self.disk.remains is None:
            self.disk.crash("kill")
        assert self.disk.remains is not None
        return self.disk.remains

    async def _end_connections(self) -> None:
        tasks = [*self._sockets.values(), *self._requests]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=10)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def failures(self) -> list[BaseException]:
        """What escaped from the application, which nothing should."""
        escaped: list[BaseException | None] = [socket.failure for socket in self._sockets]
        if self._main.done() and not self._main.cancelled():
            escaped.append(self._main.exception())
        return [error for error in escaped if error is not None]


class _Later:
    """An engine that is told of a snapshot now, and puts it in place when told to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.size = engine.size
        self.read = engine.read
        self._made: Callable[[], None] | None = None

    def replace(self, *arguments: Any, **options: Any) -> None:
        self._made = partial(self._engine.replace, *arguments, **options)

    def replace_now(self) -> None:
        """Put it in place, if there was one to make."""
        if self._made is not None:
            self._made()
