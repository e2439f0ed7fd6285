"""Executors that are clients of the daemon: each a process with a store, a socket and a clock of its own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any, Protocol, cast

from adapters import Executor
from crdt_conv import Change, Conversation, Store, StoreError, Target, UnknownRun
from crdt_conv.engine import Engine
from crdt_conv.runs.run import Run
from crdt_conv.store import MemoryEngine
from syncd.client.leases import Granted, SharedGrants, granted_of
from syncd.client.link import Line, Link
from syncd.errors import SyncTimeout
from syncd.protocol.hocuspocus.codec import PONG, Addressed, Ping, decode, document_of
from tests.faults.simulation.clients import TOKEN
from tests.faults.simulation.daemon import Answer
from tests.faults.simulation.executors.provider import NAME, Provider, SimulatedAdapter
from tests.faults.simulation.loop import SKEW_S
from tests.faults.simulation.network import HONEST, End, Manner, Socket

Connect = Callable[[str, End, Manner, Random], Socket | None]


class Network(Protocol):
    """The way to the daemon."""

    def connect(self, path: str, end: End, manner: Manner, random: Random) -> Socket | None:
        """Return a socket, where somebody listens."""

    async def request(self, method: str, path: str, body: object = None) -> Answer | None:
        """Make an HTTP request; nothing where nobody answers."""

    def is_over(self, conversation: str, tag: str) -> bool:
        """Whether the daemon knows that a question was dealt with."""


class MortalEngine:
    """A disk that outlives its process; what a dead one still does, it does not see."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        if self.is_dead:
            raise StoreError("the process is dead")
        return getattr(self._engine, name)


class Node:
    """One machine with an executor, or the device of a person."""

    def __init__(
        self, name: str, conversations: tuple[str, ...], network: Network, provider: Provider, skew_s: float
    ) -> None:
        self.name = name
        self.is_cut = False
        self.socket: Socket | None = None
        self.stops = 0
        self._disk = MemoryEngine()
        self._conversations = conversations
        self._network = network
        self._provider = provider
        self._random = Random(name)
        self._context = contextvars.copy_context()
        self._context.run(SKEW_S.set, skew_s)
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._links: dict[str, Link] = {}
        self._connections = 0
        self._frames: asyncio.Queue[tuple[Socket | None, bytes]] = asyncio.Queue()
        provider.reached(name, is_reached=True)

    # Its process

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._task is not None

    def start(self) -> None:
        """Start its process on what its disk holds."""
        if self._task is None:
            self.engine = MortalEngine(self._disk)
            self.store = Store(engine=cast("Engine", self.engine), device=self.name)
            self._ending = asyncio.Event()
            self._task = asyncio.create_task(self._run(self.engine), context=self._context)

    async def _run(self, engine: MortalEngine) -> None:
        store, ending = self.store, self._ending
        self._links = {}
        for conversation_id in self._conversations:
            conversation = store.join(conversation_id)
            self._links[conversation_id] = Link(conversation, "daemon")
        adapter = SimulatedAdapter(
            self.name,
            self._provider,
            self._random,
            is_alive=lambda: not engine.is_dead,
            epoch_of=lambda tag: epoch_of(store, self._conversations, tag, self.name),
            may_begin=self._may_begin,
        )
        grants = SharedGrants(self, self._is_in_sync)
        store.subscribe(lambda change: self._heard(store, change))
        self.connect()
        reading = asyncio.create_task(self._read(engine))
        with suppress(StoreError):
            async with Executor(store, [adapter], grants=grants) as executor:
                for conversation_id in self._conversations:
                    executor.offer(store.join(conversation_id))
                await ending.wait()
        reading.cancel()

    def _may_begin(self, tag: str) -> None:
        if not self.is_cut and self.socket is not None:
            is_over = any(self._network.is_over(conversation, tag) for conversation in self._conversations)
            self._provider.expect(not is_over, f"{tag}: {self.name} begins what it could know is over")

    def _heard(self, store: Store, change: Change) -> None:
        for run_id in sorted(change.runs):
            with suppress(UnknownRun):
                run = store.join(change.conversation).runs[run_id]
                if run.cancel:
                    self._provider.cancelled(self.name, tag_of(run))

    async def kill(self) -> None:
        """Kill its process."""
        if self._task is not None:
            self.engine.is_dead = True
            self._provider.died(self.name)
            await self._end()

    async def stop(self) -> None:
        """Stop its process in good order."""
        if self._task is not None:
            self.stops += 1
            await self._end()

    async def _end(self) -> None:
        task, self._task = self._task, None
        assert task is not None
        links, self._links = self._links, {}
        self._ending.set()
        await asyncio.wait([task])
        if self.socket is not None:
            self.socket.cut()
        for link in links.values():
            link.close()
        if not task.cancelled() and task.exception() is not None and not self.engine.is_dead:
            raise cast("BaseException", task.exception())

    # Its network

    def cut(self) -> None:
        """Take it off the network."""
        self.is_cut = True
        self._provider.reached(self.name, is_reached=False)
        if self.socket is not None:
            self.socket.cut()

    def join(self) -> None:
        """Put it on the network again."""
        if self.is_cut:
            self.is_cut = False
            self._provider.reached(self.name, is_reached=True)
            self.connect()

    def connect(self) -> None:
        """Connect, and again and again while nobody listens."""
        if self.socket is None and self._task is not None and not self.is_cut:
            self._connections += 1
            random = Random(f"{self.name}, connection {self._connections}")
            self.socket = self._network.connect("/collab", self, HONEST, random)
            if self.socket is None:
                self._come_back()

    def opened(self) -> None:
        """Let all links begin."""
        line = Line(self._send, lambda _: self._cut_socket(), lambda: TOKEN)
        for link in self._links.values():
            link.begin(line)

    def received(self, frame: bytes) -> None:
        """Take a frame, which its own task reads."""
        self._frames.put_nowait((self.socket, frame))

    async def _read(self, engine: MortalEngine) -> None:
        # A task, as in the real client: an executor starts others from what comes.
        with suppress(StoreError):
            while not engine.is_dead:
                socket, frame = await self._frames.get()
                if socket is self.socket:
                    self._take(frame)

    def _take(self, frame: bytes) -> None:
        told = decode(frame, is_server=True)
        if isinstance(told, Addressed) and document_of(told.address) in self._links:
            self._links[document_of(told.address)].receive(told.body)
        elif isinstance(told, Ping):
            self._send(PONG)

    def closed(self, code: int, reason: str) -> None:
        """Come back."""
        self.socket = None
        for link in self._links.values():
            link.end(reason)
        self._come_back()

    def _come_back(self) -> None:
        asyncio.get_running_loop().call_later(0.2 + self._random.random(), self.connect)

    def _cut_socket(self) -> None:
        if self.socket is not None:
            self.socket.cut()

    def _send(self, frame: bytes) -> None:
        if self.socket is not None:
            self.socket.send(frame)

    def _is_in_sync(self, conversation: Conversation) -> bool:
        link = self._links.get(conversation.id)
        return link is not None and link.status.state == "in sync"

    # Leases, over HTTP

    async def acquire_lease(self, conversation: str, run: str, owner: str, ttl_s: float) -> Granted | None:
        """Take or renew a lease."""
        path = f"/api/conversations/{conversation}/runs/{run}/lease"
        answer = await self._ask("PUT", path, {"owner": owner, "ttl_s": ttl_s})
        if answer.status in {404, 409}:
            return None
        if answer.status != 200:
            raise SyncTimeout(f"answered {answer.status}")
        return granted_of(answer.body)

    async def release_lease(self, conversation: str, run: str, owner: str) -> None:
        """End a lease."""
        await self._ask("DELETE", f"/api/conversations/{conversation}/runs/{run}/lease?owner={owner}")

    async def _ask(self, method: str, path: str, body: object = None) -> Answer:
        await asyncio.sleep(0.2 * self._random.random())
        answer = None if self.is_cut else await self._network.request(method, path, body)
        await asyncio.sleep(0.2 * self._random.random())
        if answer is None or self.is_cut:
            raise SyncTimeout("not reached")
        return answer

    # Its person

    def ask(self, conversation_id: str, tag: str) -> None:
        """Ask something, connected or not."""
        conversation = self.store.join(conversation_id)
        conversation.append("user", f"What is {tag}?")
        conversation.runs.request(Target(NAME, params={"tag": tag}))

    def cancel(self, conversation_id: str) -> None:
        """Want some answer no more."""
        runs = self.store.join(conversation_id).runs
        under_way = [run for run in runs.all() if not run.is_over]
        if under_way:
            runs.cancel(self._random.choice(under_way).id)


def tag_of(run: Run) -> str:
    """Return which question a run asks."""
    return str(run.target.params["tag"])


def run_of(store: Store, conversations: tuple[str, ...], tag: str) -> Run | None:
    """Return the run for a question, where it is."""
    runs = (run for name in conversations for run in store.join(name).runs.all())
    return next((run for run in runs if tag_of(run) == tag), None)


def epoch_of(store: Store, conversations: tuple[str, ...], tag: str, device: str) -> int:
    """Return the epoch under which a device answers a question: its own last claim's."""
    run = run_of(store, conversations, tag)
    assert run is not None
    own = [claim["epoch"] for claim in run.claims if str(claim["executor"]).startswith(f"{device}/")]
    return int(max(own))
