"""
Fulfilling one run: claim, materialize, call, write down.

Whatever happens, the document says so: an answer that was cut off stays with the
text that came, and the run has an error a person can read. Only the owner of the
lease writes; who lost it stops without a word, since the next owner speaks.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Self

import anyio

from adapters.errors import AdapterError, HandleLost, HiddenRefused
from adapters.exchange import Adapter, Continues, Hidden, Json, Note, Report, Request, refused_key
from adapters.executor.leases import Lease, Leases
from adapters.executor.retries import delay_s, is_worth_waiting, refused_before
from adapters.spaces import NONE
from adapters.writing import AnswerWriter
from crdt_conv import Author, Conversation, Message, MessageWriter, Run
from crdt_conv.hidden import SERVER
from crdt_conv.ids import now_ms


@dataclass(slots=True)
class _Outcome:
    """How an answer ended, as it is written into message and run."""

    status: str
    error: AdapterError | None = None


class Fulfilment:
    """One run on its way, under one lease."""

    def __init__(
        self, conversation: Conversation, run: Run, adapter: Adapter, leases: Leases, lease: Lease
    ) -> None:
        self._conversation = conversation
        self._run = run
        self._adapter = adapter
        self._leases = leases
        self._lease = lease
        self._writer = AnswerWriter(conversation, self._begin)
        self._cancelled = anyio.CancelScope()
        self._refused: frozenset[str] = frozenset()
        self._repairs: tuple[Note, ...] = ()
        self._report: Report

    def cancel(self) -> None:
        """End the call: somebody asked for it in the document."""
        self._cancelled.cancel()

    async def run(self) -> None:
        """Fulfil the run; everything that goes wrong ends up in the document."""
        with anyio.CancelScope() as lost:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._leases.keep, self._lease, lost)
                await self._answer_and_settle(lost)
                tasks.cancel_scope.cancel()

    async def _answer_and_settle(self, lost: anyio.CancelScope) -> None:
        outcome = _Outcome("interrupted")
        try:
            self._conversation.runs.claim(self._run.id, self._leases.owner, self._lease.epoch)
            with self._cancelled:
                outcome = await self._answer()
            if self._cancelled.cancelled_caught:
                outcome = _Outcome("cancelled")
        except AdapterError as error:
            outcome = _Outcome("failed", error)
        finally:
            if not lost.cancel_called:
                self._settle(outcome)

    # The call

    async def _answer(self) -> _Outcome:
        request = self._materialize()
        attempts = 1
        while True:
            try:
                await self._call(request)
                return _Outcome("complete")
            except AdapterError as error:
                # What was paid for and shown is not thrown away for another try.
                if self._writer.message is not None:
                    raise
                if isinstance(error, HiddenRefused | HandleLost):
                    request = self._repaired(error)
                    continue
                if not is_worth_waiting(error, attempts):
                    raise
                await anyio.sleep(delay_s(error, attempts))
                attempts += 1

    def _repaired(self, error: HiddenRefused | HandleLost) -> Request:
        """Return the request without what the provider refused; once, and on record for all that follow."""
        sent = [(field.message, field.binding) for field in self._report.hidden if field.space != NONE]
        refused = {
            refused_key(*field) for field in sent if (field[1] == SERVER) is isinstance(error, HandleLost)
        }
        if self._refused or not refused:
            raise error
        self._refused = frozenset(refused)
        self._repairs = (Note("request", f"sent again without what the provider refused: {error.type}"),)
        return self._materialize()

    def _materialize(self) -> Request:
        log = [*self._conversation.lin(*self._run.parents), *self._broken_off()]
        refused = self._refused | refused_before(self._conversation)
        hidden = Hidden.of(self._conversation, now_ms=now_ms(), refused=refused)
        request, report = self._adapter.materialize(log, self._run.target, (), hidden)
        self._report = replace(report, repairs=(*report.repairs, *self._repairs))
        self._write_down(request, self._report)
        return request

    def _broken_off(self) -> list[Message]:
        """Return the answer that an earlier owner left in its middle, if the adapter goes on with it."""
        if not isinstance(self._adapter, Continues):
            return []
        placed = [output for output in self._run.outputs if output in self._conversation.graph]
        last = self._conversation.message(placed[-1]) if placed else None
        return [last] if last is not None and last.status == "interrupted" and last.parts else []

    def _write_down(self, request: Request, report: Report) -> None:
        """Put on record what is sent."""
        sent = {
            **report.as_json(),
            "log": self._conversation.digest(*self._run.parents).hex(),
            "request": request.digest,
            **({"refused": sorted(self._refused)} if self._refused else {}),
        }
        self._conversation.runs.update(self._run.id, sent=sent)

    async def _call(self, request: Request) -> None:
        ingest = self._adapter.ingest(request)
        async with aclosing(self._adapter.stream(request)) as events, _Flusher(self) as flusher:
            async for event in events:
                self._writer.take(ingest.feed(event), anyio.current_time())
                if self._writer.reported:
                    self._write_down(request, self._report.with_added(self._writer.reported.pop()))
                if self._writer.due_s is not None:
                    self._writer.begin()
                    flusher.wake()
        self._writer.take(ingest.end(), anyio.current_time())
        self._writer.begin()

    # Writing

    def _begin(self) -> MessageWriter:
        """Begin the answer with its first token: a run that fails before has no message."""
        run, model = self._run, self._run.target.model or self._adapter.model
        writer = self._conversation.stream(
            branch=run.branch,
            parents=run.parents,
            author=Author("model", self._conversation.author.device, model),
            run=run.id,
            model=model,
        )
        self._conversation.runs.update(run.id, state="streaming", output=writer.message_id)
        return writer

    def flush(self) -> None:
        """Write what has come."""
        self._writer.flush()
        if self._writer.is_redacted:
            # Taken out while it was being written: nobody is to pay for the rest.
            self.cancel()

    @property
    def due_s(self) -> float | None:
        """When the next flush is due."""
        return self._writer.due_s

    def _settle(self, outcome: _Outcome) -> None:
        self._writer.flush()
        message = self._writer.message
        has_parts = message is not None and bool(message.message.parts)
        is_broken = outcome.status == "failed" and has_parts
        self._writer.finish("interrupted" if is_broken else outcome.status)
        values: dict[str, Json] = {"state": outcome.status}
        if outcome.error is not None:
            values["error"] = {"type": outcome.error.type, "message": str(outcome.error)}
        self._conversation.runs.update(self._run.id, **values)
        self._leases.release(self._lease)


class _Flusher:
    """Writes a fulfilment's batch whenever it is due, while the call goes on."""

    def __init__(self, fulfilment: Fulfilment) -> None:
        self._fulfilment = fulfilment
        self._has_more = anyio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._flush)
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    def wake(self) -> None:
        """Say that something came."""
        self._has_more.set()

    async def _flush(self) -> None:
        while True:
            due_s = self._fulfilment.due_s
            if due_s is None:
                self._has_more = anyio.Event()
                await self._has_more.wait()
            else:
                await anyio.sleep_until(due_s)
                self._fulfilment.flush()
