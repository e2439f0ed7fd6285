"""
The world of executors: the daemon of the other simulation, maybe with one in it, and others as its clients.

What must hold, once nothing goes wrong any more (and see ``provider`` for what must hold all the time):

- Every run is over, and has an answer, unless somebody cancelled it, the provider refused, its owner was
  stopped in its middle, or it broke off again and again.
- Everybody shows the same log, and of the answers to one question only the winner's: the highest epoch's,
  of two the one with the smallest id. Another shows only where somebody wrote on top of it.
- Nothing that was said is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio

from adapters import Executor
from adapters.executor.executor import MAX_EPOCHS
from adapters.executor.leases import TTL_S
from crdt_conv import Conversation, Message, Store
from crdt_conv.runs.run import Run
from crdt_conv.yjs.updates import read_state_vector
from syncd.client.leases import ASK_S
from syncd.hub import Hub
from syncd.leases import HubGrants
from tests.faults.simulation.daemon import Answer, Process
from tests.faults.simulation.disk import Disk, Disks
from tests.faults.simulation.executors.nodes import Node, epoch_of, run_of, tag_of
from tests.faults.simulation.executors.provider import NAME, Provider, SimulatedAdapter
from tests.faults.simulation.loop import WallClock
from tests.faults.simulation.network import End, Manner, Socket
from tests.faults.simulation.oracle import BrokenPromise
from tests.faults.simulation.world import LONGEST_S, World

TALKS: Final = ("one", "two")
SKEWS_S: Final = (0.0, 0.0, -3600.0, 40.0, 1e8)
GRANTED_S: Final = ASK_S + TTL_S / 3 + 1.0
"""So long may it take from a grant to the call: the answer, and all that the daemon had."""
IN_DAEMON: Final = "daemon's"


class RunsWorld(World):
    """One seed's."""

    CLIENTS = 0

    def __init__(self, seed: int, disks: Disks, folder: Path, clock: WallClock) -> None:
        super().__init__(seed, disks, folder, clock)
        self.provider = Provider()
        self.has_executor = self.random.random() < 0.7
        self.daemon_stops = 0
        self.tags: list[str] = []
        self.answered_twice = 0
        self._over_s: dict[str, float] = {}
        self.nodes = [
            Node(f"{self.name}, node {number}", TALKS, self, self.provider, self.random.choice(SKEWS_S))
            for number in range(self.random.choice([1, 2, 3]))
        ]

    # The daemon

    def _process(self, disk: Disk, random: Random) -> Process:
        return _Observed(disk, random, self._beside, self.provider)

    @asynccontextmanager
    async def _beside(self, hub: Hub) -> AsyncIterator[None]:
        self.provider.reached("daemon", is_reached=True)
        self.provider.reached(IN_DAEMON, is_reached=True)
        for talk in TALKS:
            hub.store.join(talk)
        stop = hub.store.subscribe(lambda change: self._heard(hub.store, change.conversation, change.runs))
        if not self.has_executor:
            yield
            stop()
            return
        process = self.process
        adapter = SimulatedAdapter(
            IN_DAEMON,
            self.provider,
            Random(f"{self.name}, the daemon's provider"),
            is_alive=lambda: process is not None and process.is_alive,
            epoch_of=lambda tag: epoch_of(hub.store, TALKS, tag, hub.store.device),
            may_begin=lambda _: None,
        )
        async with Executor(hub.store, [adapter], grants=HubGrants(hub)) as executor:
            for talk in TALKS:
                executor.offer(hub.store.join(talk))
            yield
        stop()

    def _heard(self, store: Store, conversation: str, runs: Any) -> None:
        for run_id in sorted(runs):
            run = store.join(conversation).runs[run_id]
            if run.is_over:
                self._over_s.setdefault(tag_of(run), self._loop.time())
            if run.cancel:
                self.provider.cancelled(IN_DAEMON, tag_of(run))

    async def stop(self) -> None:
        """Stop the daemon in good order."""
        self.daemon_stops += 1
        self.provider.reached("daemon", is_reached=False)
        await super().stop()

    # The network of nodes

    def connect(self, path: str, end: End, manner: Manner, random: Random) -> Socket | None:
        """Return a socket, where the daemon listens."""
        return self._connect(path, end, manner, random)

    async def request(self, method: str, path: str, body: object = None) -> Answer | None:
        """Make an HTTP request."""
        process = self.process
        if process is None or not process.is_ready or not process.is_alive:
            return None
        return await process.request(method, path, body)

    def is_over(self, conversation: str, tag: str) -> bool:
        """Whether the daemon knows that a question was dealt with."""
        process = self.process
        if process is None or not process.is_ready or not process.is_alive:
            return False
        run = run_of(process.store, (conversation,), tag)
        # A grant from right before that is still on its way to its owner.
        if run is None or not run.is_over:
            return False
        return self._loop.time() - self._over_s.setdefault(tag, self._loop.time()) >= GRANTED_S

    # What people do

    def next_tag(self) -> str:
        """Name the next question."""
        self.tags.append(f"q{len(self.tags)}")
        return self.tags[-1]

    async def ask_daemon(self, conversation: str) -> None:
        """Ask something over HTTP."""
        path, tag = f"/api/conversations/{conversation}", self.next_tag()
        said = await self.request("POST", f"{path}/messages", {"role": "user", "text": f"What is {tag}?"})
        if said is not None and said.status == 201:
            target = {"adapter": NAME, "params": {"tag": tag}}
            await self.request("POST", f"{path}/runs", {"target": target})

    # The end

    async def settle(self) -> None:
        """Let nothing go wrong any more, wait until all is answered, and look at it."""
        self.note("from here on nothing goes wrong")
        end_s = self._loop.time() + LONGEST_S
        while self._loop.time() < end_s and not self._is_settled():
            if self.process is not None:
                self.process.disk.room, self.process.disk.fails_sync = None, False
            await self.recover()
            await self.start()
            for node in self.nodes:
                node.start()
                node.join()
            await anyio.sleep(2)
        self.provider.check()
        self._check()

    def _is_settled(self) -> bool:
        if self.process is None or not self.process.is_alive or not all(node.is_alive for node in self.nodes):
            return False
        states = {
            tuple(
                (frozenset(read_state_vector(talk.state_vector).items()), talk.log().digest)
                for talk in replica
            )
            for replica in self._replicas()
        }
        runs = [run for talk in self._daemon_talks() for run in talk.runs.all()]
        is_calling = any(call.ended_s is None for call in self.provider.calls)
        return len(states) == 1 and all(run.is_over for run in runs) and not is_calling

    def _replicas(self) -> Iterator[list[Conversation]]:
        yield self._daemon_talks()
        for node in self.nodes:
            yield [node.store.join(talk) for talk in TALKS]

    def _daemon_talks(self) -> list[Conversation]:
        assert self.process is not None
        return [self.process.store.join(talk) for talk in TALKS]

    def _check(self) -> None:
        if not self._is_settled():
            raise BrokenPromise(f"not settled after {LONGEST_S} s: {list(self._states())}")
        for talk in self._daemon_talks():
            for run in talk.runs.all():
                self._check_answered(talk, run)
                self._check_shown(talk, run)
        self._check_nothing_lost()
        logs = {
            tuple(
                (message.id, message.text, message.status)
                for talk in replica
                for message in talk.log().messages
            )
            for replica in self._replicas()
        }
        if len(logs) != 1:
            raise BrokenPromise("replicas show different logs")

    def _states(self) -> Iterator[str]:
        for talk in self._daemon_talks():
            for run in talk.runs.all():
                yield f"{tag_of(run)} {run.state} {run.id} {[dict(claim) for claim in run.claims]}"

    def _check_answered(self, talk: Conversation, run: Run) -> None:
        calls = [call for call in self.provider.calls if call.tag == tag_of(run)]
        is_excused = (
            run.cancel
            or any(call.has_failed for call in calls)
            or len(run.claims) >= MAX_EPOCHS
            or (run.state == "interrupted" and (self.daemon_stops or any(node.stops for node in self.nodes)))
        )
        is_answered = run.state == "complete" and bool(self._whole(talk, run))
        if not is_answered and not is_excused:
            raise BrokenPromise(f"{tag_of(run)} has no answer: {run.state} {run.error} {run.claims}")

    @staticmethod
    def _whole(talk: Conversation, run: Run) -> list[Message]:
        answers = [talk.message(output) for output in run.outputs if output in talk.graph]
        return [answer for answer in answers if answer.is_complete]

    def _check_shown(self, talk: Conversation, run: Run) -> None:
        """Hold the answers that are shown against our own choice, by the provider's own list of calls."""
        whole = self._whole(talk, run)
        ranks = {answer.id: (-self._call_of(answer).epoch, answer.id) for answer in whole}
        self.answered_twice += len(whole) > 1
        winner = min(whole, key=lambda answer: ranks[answer.id], default=None)
        shown = [message for message in talk.log().messages if message.run == run.id and message.is_complete]
        for message in shown:
            is_continued = any(message.id in node.parents for node in talk.graph)
            if message != winner and not is_continued:
                raise BrokenPromise(
                    f"{tag_of(run)}: {ranks[message.id]} is shown, of {sorted(ranks.values())}"
                )
        if (
            winner is not None
            and winner not in shown
            and not any(other.id in node.parents for other in whole for node in talk.graph)
        ):
            raise BrokenPromise(f"{tag_of(run)}: the winner {ranks[winner.id]} is not shown")

    def _call_of(self, answer: Message) -> Any:
        return self.provider.calls[int(answer.text.split(".")[0])]

    def _check_nothing_lost(self) -> None:
        """Every message that a node holds is there, whoever won."""
        for replica in self._replicas():
            for talk, own in zip(self._daemon_talks(), replica, strict=True):
                missing = {node.id for node in own.graph} - {node.id for node in talk.graph}
                if missing:
                    raise BrokenPromise(f"{talk.id}: {missing} never got to the daemon")


class _Observed(Process):
    """A daemon whose death is noticed in its moment, with the calls that die with it."""

    def __init__(self, disk: Disk, random: Random, beside: Any, provider: Provider) -> None:
        super().__init__(disk, random, beside)
        self._provider = provider

    def _fell(self) -> None:
        super()._fell()
        self._provider.reached("daemon", is_reached=False)
        self._provider.died(IN_DAEMON)


async def nap(world: RunsWorld) -> None:
    """Let time pass, seldom as much as a lease lasts."""
    await asyncio.sleep(world.random.choice([0.0, 0.1, 2.0, 20.0]) * world.random.random())
