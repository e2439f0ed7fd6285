"""
The executor: a replica that fulfils runs.

It hears of every durable change in its store, takes the runs that its adapters can
answer, and leaves the others to other executors. A run that somebody left in its
middle is taken over when the lease ends: what had come stays as an interrupted
answer, and the new one begins beside it, at most ``MAX_EPOCHS`` times.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from adapters.answers import Changes, answer_pieces, watching
from adapters.errors import RunFailed
from adapters.exchange import Adapter, Forgets
from adapters.executor.fulfil import MAX_ROUNDS, Fulfilment, end_outputs, mend_outputs
from adapters.executor.leases import RENEW_S, TTL_S, Grants, Leases, StoreGrants
from adapters.executor.slots import Slot
from adapters.tools import AnyTool, Toolbox
from crdt_conv import MAIN, Change, Conversation, Run, Store, StoreError, Target, UnknownRun, new_id
from crdt_conv.messages.message import REDACTED

MAX_EPOCHS = 3

logger = logging.getLogger("adapters")


class Executor:
    """
    Fulfils the runs of a store while its context is open.

    Example:
        ::

            async with Executor(store, adapters=[LlamaCpp()], tools=[weather]) as executor:
                async for piece in executor.run(conv):
                    print(piece, end="")
    """

    def __init__(
        self,
        store: Store,
        adapters: Sequence[Adapter],
        *,
        tools: Iterable[AnyTool] = (),
        max_rounds: int = MAX_ROUNDS,
        grants: Grants | None = None,
        ttl_s: float = TTL_S,
        renew_s: float = RENEW_S,
    ) -> None:
        """
        Make an executor that does nothing yet.

        Args:
            store: Whose runs it fulfils.
            adapters: What it can answer with; the first is the default of ``run``.
            tools: What models may call: functions, ``FunctionTool`` and ``adapters.tools.mcp.McpServer``.
            max_rounds: So many answers of one run may call tools, or pause.
            grants: Who says whose a run is; the store itself, where it is left out. An executor that is a
                client of a daemon asks the daemon: ``syncd.client.RemoteGrants``.
            ttl_s: How long a crashed executor keeps its runs from others.
            renew_s: How often a lease is renewed meanwhile.

        Raises:
            TypeError: A tool is none.
            ValueError: Two tools have one name.
        """
        self._store = store
        self._adapters = {adapter.name: adapter for adapter in adapters}
        self._limits = {adapter.name: anyio.CapacityLimiter(adapter.at_once) for adapter in adapters}
        self._leases = Leases(
            grants or StoreGrants(store),
            f"{store.device}/{new_id()}",
            store.device,
            ttl_s=ttl_s,
            renew_s=renew_s,
        )
        self._toolbox = Toolbox(tools)
        self._max_rounds = max_rounds
        self._retry_s = ttl_s / 3
        self._mine: dict[str, Fulfilment | None] = {}
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        for adapter in self._adapters.values():
            self._tasks.start_soon(adapter.serve)
        self._tasks.start_soon(self._toolbox.serve)
        self._unsubscribe = self._store.subscribe(self._on_change)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unsubscribe()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    def offer(self, conversation: Conversation) -> None:
        """Look for runs that were asked for, or broke off, and for redactions, before it was here."""
        self._forget(conversation)
        for run in conversation.runs.all():
            self._consider(conversation, run)

    async def run(
        self, conversation: Conversation, branch: str = MAIN, target: Target | None = None
    ) -> AsyncGenerator[str, None]:
        """
        Ask for an answer and yield its text as it comes; closing this cancels the run.

        Args:
            conversation: One of this executor's store.
            branch: What to answer.
            target: With what; the first adapter, where it is left out.

        Raises:
            RunFailed: It ended without a whole answer.
            InvalidMessage: There is nothing to answer.
        """
        wanted = target or Target(next(iter(self._adapters)))
        run_id = conversation.runs.request(wanted, branch).id
        try:
            async with aclosing(answer_pieces(conversation, run_id)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            conversation.runs.cancel(run_id)

    # Taking runs

    def _on_change(self, change: Change) -> None:
        if change.redacted:
            self._forget(self._store.join(change.conversation))
        # Who asked first is answered first.
        for run_id in sorted(change.runs):
            conversation = self._store.join(change.conversation)
            try:
                self._consider(conversation, conversation.runs[run_id])
            except UnknownRun:
                # A stranger's entry that has not the shape of a run.
                continue

    def _consider(self, conversation: Conversation, run: Run) -> None:
        if run.id in self._mine:
            fulfilment = self._mine[run.id]
            if run.cancel and fulfilment is not None:
                fulfilment.cancel()
        elif run.is_over:
            if len(run.claims) > 1:
                mend_outputs(conversation, run)
        elif run.target.adapter in self._adapters and self._has_tools(run):
            self._mine[run.id] = None
            self._tasks.start_soon(self._fulfil, conversation, run.id)

    def _has_tools(self, run: Run) -> bool:
        """Whether it can go on with a run: where tools were called, whoever goes on needs some."""
        return bool(self._toolbox) or not run.calls

    def _forget(self, conversation: Conversation) -> None:
        """Let adapters remove what they made of messages that are redacted, and of those they answered."""
        redacted = [node for node in conversation.graph if node.status == REDACTED]
        messages = {message for node in redacted for message in (node.id, *node.parents)}
        for adapter in self._adapters.values() if messages else ():
            if isinstance(adapter, Forgets):
                adapter.forget(messages)

    async def _fulfil(self, conversation: Conversation, run_id: str) -> None:
        try:
            self._forget(conversation)
            # Watched to its end, so that who cancels it from elsewhere is heard soon.
            async with watching(conversation) as changes:
                await self._with_messages(conversation, run_id, changes)
                await self._fulfil_when_possible(conversation, run_id, changes)
        except* (UnknownRun, StoreError) as errors:
            # A full disk must not end the other runs. This one's lease ends by itself.
            reason = errors.exceptions[0]
            logger.error("conversation %s: run %s was given up: %s", conversation.id, run_id, reason)
        finally:
            del self._mine[run_id]

    @staticmethod
    async def _with_messages(conversation: Conversation, run_id: str, changes: Changes) -> Run:
        """Return a run once all that it answers is here: it may come first, through a gap."""
        while True:
            run = conversation.runs[run_id]
            if run.is_over or all(parent in conversation.graph for parent in run.parents):
                return run
            await changes.wait()

    async def _fulfil_when_possible(self, conversation: Conversation, run_id: str, changes: Changes) -> None:
        """Wait while a person has to approve something, or another executor holds the lease."""
        while not (run := conversation.runs[run_id]).is_over:
            if run.is_waiting and not run.cancel:
                await changes.wait()
                continue
            async with Slot(self._limits[run.target.adapter]) as slot:
                is_done = await self._fulfil_if_leased(conversation, run_id, slot)
            if not is_done:
                await anyio.sleep(self._retry_s)
        if len(run.claims) > 1:
            mend_outputs(conversation, run)

    async def _fulfil_if_leased(self, conversation: Conversation, run_id: str, slot: Slot) -> bool:
        """Go on with a run as far as it goes now; false where another executor holds it."""
        run = conversation.runs[run_id]
        if run.is_over:
            return True
        lease = await self._leases.acquire(conversation, run)
        if lease is None:
            return False
        run = conversation.runs[run_id]
        end_outputs(conversation, run, roles={"assistant"})
        if run.cancel or run.broken_off >= MAX_EPOCHS:
            self._give_up(conversation, run)
            await self._leases.release(lease)
            return True
        fulfilment = Fulfilment(
            conversation,
            run,
            adapter=self._adapters[run.target.adapter],
            toolbox=self._toolbox,
            leases=self._leases,
            lease=lease,
            max_rounds=self._max_rounds,
        )
        self._mine[run_id] = fulfilment
        await fulfilment.run(slot)
        self._mine[run_id] = None
        return True

    def _give_up(self, conversation: Conversation, run: Run) -> None:
        """End a run that nobody wants any more, or that breaks off whoever takes it."""
        end_outputs(conversation, run)
        if run.cancel:
            conversation.runs.update(run.id, state="cancelled")
        else:
            reason = f"the run failed: it broke off {MAX_EPOCHS} times"
            error = {"type": RunFailed.type, "message": reason}
            conversation.runs.update(run.id, state="failed", error=error)
