"""One answer of a model: materialize, call, write down as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final, Self

import anyio

from adapters.errors import AdapterError, HandleLost, HiddenRefused
from adapters.exchange import (
    Adapter,
    Continues,
    Hidden,
    Json,
    Note,
    Report,
    Request,
    Resumes,
    Tool,
    refused_key,
)
from adapters.executor.retries import delay_s, is_worth_waiting, refused_before
from adapters.executor.steps import Answer, unforced
from adapters.spaces import NONE
from adapters.writing import AnswerWriter
from crdt_conv import Author, Conversation, Message, MessageWriter, Run
from crdt_conv.ids import now_ms
from crdt_conv.messages.hidden import SERVER

DROP_S: Final = 5.0
"""So long may it take to tell a provider that nobody wants an answer any more."""


class Answering:
    """One answer on its way."""

    def __init__(
        self,
        conversation: Conversation,
        run: Run,
        step: Answer,
        *,
        adapter: Adapter,
        tools: Sequence[Tool],
        epoch: int,
        cancel: Callable[[], None],
    ) -> None:
        self._conversation = conversation
        self._run = run
        self._step = step
        self._adapter = adapter
        self._tools = tools
        self._epoch = epoch
        self._cancel = cancel
        self._writer = AnswerWriter(conversation, self._begin)
        # What earlier answers of this run found out stays on record with it.
        self._known_refused = frozenset((run.sent or {}).get("refused") or ())
        self._refused: frozenset[str] = frozenset()
        self._repairs: tuple[Note, ...] = ()
        self._report: Report
        # What an earlier owner asked for, which the provider may have made meanwhile.
        self._earlier = run.sent or {}
        self._is_resuming = False

    async def run(self) -> None:
        """
        Make the call, again where that helps, until the answer is whole.

        Raises:
            AdapterError: There is no whole answer.
        """
        request = self._materialize()
        attempts = 1
        while True:
            try:
                await self._call(request)
            except AdapterError as error:
                # What was paid for and shown is not thrown away for another try.
                if self._writer.message is not None:
                    raise
                if isinstance(error, HiddenRefused | HandleLost):
                    request = self._repaired(error)
                    continue
                if self._is_resuming and not error.is_retryable:
                    # It is not there any more: asked for anew.
                    self._earlier, attempts = {}, 1
                    continue
                if not is_worth_waiting(error, attempts):
                    raise
                await anyio.sleep(delay_s(error, attempts))
                attempts += 1
            else:
                return

    def end(self, status: str) -> None:
        """End the answer's message, if it was begun; an answer that failed in its middle is interrupted."""
        self._writer.flush()
        message = self._writer.message
        is_broken = status == "failed" and message is not None and bool(message.message.parts)
        self._writer.finish("interrupted" if is_broken else status)

    # The request

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
        log = [*self._conversation.lin(*self._step.parents), *self._broken_off()]
        refused = self._refused | refused_before(self._conversation)
        hidden = Hidden.of(self._conversation, now_ms=now_ms(), refused=refused)
        target, notes = self._run.target, self._repairs
        if self._step.rounds and (free := unforced(target)) != target:
            target = free
            notes = (*notes, Note("tool_choice", "asked for once: forced again, the run would never end"))
        request, report = self._adapter.materialize(log, target, self._tools, hidden)
        self._report = replace(report, repairs=(*report.repairs, *notes))
        self._write_down(request, self._report)
        return request

    def _broken_off(self) -> list[Message]:
        """Return the answer that an earlier owner left in its middle, if the adapter goes on with it."""
        last = self._step.broken_off if isinstance(self._adapter, Continues) else None
        return [last] if last is not None and last.parts else []

    def _write_down(self, request: Request, report: Report) -> None:
        """Put on record what is sent."""
        refused = self._known_refused | self._refused
        sent = {
            **report.as_json(),
            "log": self._conversation.digest(*self._step.parents).hex(),
            "request": request.digest,
            **({"refused": sorted(refused)} if refused else {}),
        }
        self._conversation.runs.update(self._run.id, sent=sent)

    # The call

    async def _call(self, request: Request) -> None:
        ingest = self._adapter.ingest(request)
        async with aclosing(self._events(request)) as events, _Flusher(self) as flusher:
            async for event in events:
                self._writer.take(ingest.feed(event), anyio.current_time())
                if self._writer.reported:
                    report = self._report.with_added(self._writer.reported.pop())
                    self._write_down(request, report)
                    # From here on another try of this call is the same answer.
                    self._earlier = {"request": request.digest, "reused": dict(report.reused)}
                if self._writer.due_s is not None:
                    self._writer.begin()
                    flusher.wake()
        self._writer.take(ingest.end(), anyio.current_time())
        self._writer.begin()

    def _events(self, request: Request) -> AsyncGenerator[Mapping[str, Json], None]:
        """Make the call; or fetch what the very same call led to, if the provider went on with it."""
        adapter = self._adapter
        handle = self.handle if self._earlier.get("request") == request.digest else None
        self._is_resuming = handle is not None
        if isinstance(adapter, Resumes) and handle is not None:
            return adapter.resume(request, handle)
        return adapter.stream(request)

    async def drop(self) -> None:
        """Have the provider end an answer that it would go on with, if there is one and it is reached."""
        handle = self.handle
        if not isinstance(self._adapter, Resumes) or handle is None:
            return
        with anyio.move_on_after(DROP_S, shield=True), suppress(AdapterError):
            await self._adapter.drop(handle)

    @property
    def handle(self) -> str | None:
        """What the provider calls the answer, where it goes on with it by itself."""
        if not isinstance(self._adapter, Resumes):
            return None
        reused = self._earlier.get("reused")
        named = reused.get(self._adapter.handle_key) if isinstance(reused, dict) else None
        return named if isinstance(named, str) else None

    # Writing

    def _begin(self) -> MessageWriter:
        """Begin the answer with its first token: a run that fails before has no message."""
        run, model = self._run, self._run.target.model or self._adapter.model
        writer = self._conversation.stream(
            branch=run.branch,
            parents=self._step.parents,
            author=Author("model", self._conversation.author.device, model),
            run=run.id,
            model=model,
        )
        self._conversation.runs.update(run.id, state="streaming", output=writer.message_id, epoch=self._epoch)
        return writer

    def flush(self) -> None:
        """Write what has come."""
        self._writer.flush()
        if self._writer.is_redacted:
            # Taken out while it was being written: nobody is to pay for the rest.
            self._cancel()

    @property
    def due_s(self) -> float | None:
        """When the next flush is due."""
        return self._writer.due_s


class _Flusher:
    """Writes an answer's batch whenever it is due, while the call goes on."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
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
            due_s = self._answering.due_s
            if due_s is None:
                self._has_more = anyio.Event()
                await self._has_more.wait()
            else:
                await anyio.sleep_until(due_s)
                self._answering.flush()
