"""
Fulfilling one run: claim it, then answer and call tools by turns, until the model has said everything.

Whatever happens, the document says so: an answer that was cut off stays with the
text that came, and the run has an error a person can read. Only the owner of the
lease writes; who lost it stops without a word, since the next owner speaks. While
tools are called, or a person is waited for, a run that has to stop is *parked*: the
next owner goes on with it, and it does not count as broken off.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import anyio

from adapters.errors import AdapterError, TooManyRounds
from adapters.exchange import Adapter, Json
from adapters.executor.answering import Answering
from adapters.executor.calling import Calling
from adapters.executor.leases import Lease, Leases
from adapters.executor.slots import Slot
from adapters.executor.steps import Answer, CallTools, End, next_step
from adapters.tools import Toolbox
from crdt_conv import Conversation, Run

MAX_ROUNDS: Final = 50
PARKED: Final = "parked"
OUTPUTS: Final = frozenset({"assistant", "tool"})


@dataclass(slots=True)
class _Outcome:
    """How a run ended, as it is written down; or that it is parked."""

    status: str
    error: AdapterError | None = None


def end_outputs(
    conversation: Conversation, run: Run, status: str = "interrupted", *, roles: Collection[str] = OUTPUTS
) -> None:
    """End what a run's owner has left streaming; what had come of it stays."""
    for output in run.outputs:
        if output in conversation.graph:
            node = conversation.graph[output]
            if node.status == "streaming" and node.role in roles:
                conversation.writer(output).finish(status)


def mend_outputs(conversation: Conversation, run: Run) -> None:
    """
    Set right what executors that were cut off from each other wrote about a run's answers.

    The one that took over called the other's answer interrupted, which meanwhile came to its end: of
    the two statuses one was lost. And one that was killed left its own streaming, under a run that is over.
    """
    for output in run.outputs:
        if output not in conversation.graph or conversation.graph[output].role != "assistant":
            continue
        message = conversation.message(output)
        if message.status == "interrupted" and message.stop_reason is not None:
            conversation.writer(output).finish()
        elif message.status == "streaming" and message.author.device == conversation.author.device:
            conversation.writer(output).finish("interrupted")


class Fulfilment:
    """One run on its way, under one lease."""

    def __init__(
        self,
        conversation: Conversation,
        run: Run,
        *,
        adapter: Adapter,
        toolbox: Toolbox,
        leases: Leases,
        lease: Lease,
        max_rounds: int = MAX_ROUNDS,
    ) -> None:
        self._conversation = conversation
        self._id = run.id
        self._adapter = adapter
        self._toolbox = toolbox
        self._leases = leases
        self._lease = lease
        self._max_rounds = max_rounds
        self._lost = anyio.CancelScope()
        self._cancelled = anyio.CancelScope()
        self._under_way: Answering | Calling | None = None
        self._unwanted: Answering | None = None

    def cancel(self) -> None:
        """End the call: somebody asked for it in the document."""
        self._cancelled.cancel()

    async def run(self, slot: Slot) -> None:
        """Fulfil the run; everything that goes wrong ends up in the document."""
        try:
            with self._lost:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._leases.keep, self._lease, self._lost)
                    await self._go_on_and_settle(slot)
                    tasks.cancel_scope.cancel()
            if self._lost.cancelled_caught and self._conversation.runs[self._id].is_over:
                # Somebody else was through first, and no later owner will end what stands here.
                end_outputs(self._conversation, self._conversation.runs[self._id])
        finally:
            if self._unwanted is not None:
                await self._unwanted.drop()
            await self._leases.release(self._lease)

    async def _go_on_and_settle(self, slot: Slot) -> None:
        outcome: _Outcome | None = None
        try:
            self._conversation.runs.claim(self._id, self._leases.owner, self._lease.epoch)
            outcome = await self._outcome(slot)
            # A machine may have slept for hours: somebody else may own the run by now, and speak of it.
            await self._check_lease()
        finally:
            if not self._lost.cancel_called:
                self._settle(self._stopped() if outcome is None else outcome)

    async def _outcome(self, slot: Slot) -> _Outcome:
        try:
            with self._cancelled:
                return await self._go_on(slot)
        except AdapterError as error:
            return _Outcome("failed", error)
        return _Outcome("cancelled")

    async def _go_on(self, slot: Slot) -> _Outcome:
        """Do one step after another; each is read from the document."""
        await self._toolbox.wait_until_listed()
        while True:
            run = self._conversation.runs[self._id]
            match next_step(self._conversation, run):
                case Answer() as step:
                    await slot.take()
                    await self._answer(run, step)
                case CallTools() as step if self._toolbox:
                    slot.give_back()
                    if (outcome := await self._call(run, step)) is not None:
                        return outcome
                case CallTools():
                    # Nothing to call here: whoever asked for the answer has the tools.
                    return _Outcome("complete")
                case End() as step:
                    return _Outcome(step.state)

    async def _answer(self, run: Run, step: Answer) -> None:
        if step.rounds >= self._max_rounds:
            told = f"the run was ended after {step.rounds} answers that called tools: ask again to go on"
            raise TooManyRounds(told)
        answering = Answering(
            self._conversation,
            run,
            step,
            adapter=self._adapter,
            tools=self._toolbox.definitions,
            epoch=self._lease.epoch,
            cancel=self.cancel,
        )
        self._under_way = answering
        await answering.run()
        answering.end("complete")
        self._under_way = None

    async def _call(self, run: Run, step: CallTools) -> _Outcome | None:
        """Call tools; returns how the run ends here, if it does."""
        calling = Calling(
            self._conversation,
            run,
            step,
            toolbox=self._toolbox,
            epoch=self._lease.epoch,
            check_lease=self._check_lease,
        )
        self._under_way = calling
        await calling.run()
        if not calling.is_whole:
            return _Outcome(PARKED)
        calling.end("complete")
        self._under_way = None
        return _Outcome("complete") if calling.is_elsewhere else None

    async def _check_lease(self) -> None:
        """Return if the run is still this executor's; stop here, if it is not."""
        if not await self._leases.is_held(self._lease):
            self._lost.cancel()
            await anyio.sleep_forever()

    def _stopped(self) -> _Outcome:
        """Return how a run ends whose executor ends."""
        return _Outcome(PARKED if isinstance(self._under_way, Calling) else "interrupted")

    def _settle(self, outcome: _Outcome) -> None:
        if outcome.status == PARKED:
            self._conversation.runs.update(self._id, parked=self._lease.epoch)
        else:
            if self._under_way is not None:
                self._under_way.end(outcome.status)
            if isinstance(self._under_way, Answering):
                self._unwanted = self._under_way
            end_outputs(self._conversation, self._conversation.runs[self._id], outcome.status)
            values: dict[str, Json] = {"state": outcome.status}
            if outcome.error is not None:
                values["error"] = {"type": outcome.error.type, "message": str(outcome.error)}
            self._conversation.runs.update(self._id, **values)
