"""
The calls of one answer: made at once, each result written as it comes, into one message.

Rules. A call is on record in the document before it is made. One that an earlier owner of
the run had begun is made again only if its tool may be repeated; else its result says that it
is not known whether it was done. One that needs approval waits on record, and holds up no other.
Only the owner of the lease begins a call or writes a result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

import anyio

from adapters.executor.steps import CallTools, calls_of
from adapters.normalize import normalize
from adapters.tools import CallableTool, Toolbox, ToolOutput, perform
from adapters.tools.performing import failed, shortened
from crdt_conv import Author, Conversation, MessageWriter, Part, Run
from crdt_conv.runs.calls import BEGUN, DONE, PENDING, Call, call_key

NOT_KNOWN: Final = (
    "whoever made this call was gone before its end: it is not known whether it was done, "
    "and it was not made again"
)
DENIED: Final = "a person has not approved this call: it was not made"


@dataclass(frozen=True, slots=True)
class _Job:
    """A call that is made now, or whose result is known already."""

    part: Part
    tool: CallableTool | None = None
    output: ToolOutput | None = None


class Calling:
    """The calls of one answer on their way."""

    def __init__(
        self,
        conversation: Conversation,
        run: Run,
        step: CallTools,
        *,
        toolbox: Toolbox,
        epoch: int,
        check_lease: Callable[[], Awaitable[None]],
    ) -> None:
        """
        Begin; ``check_lease`` does not return where the run belongs to somebody else by now.

        A machine may have slept for hours before the next line of this runs.
        """
        self._conversation = conversation
        self._run = run
        self._answer = step.answer
        self._toolbox = toolbox
        self._epoch = epoch
        self._check_lease = check_lease
        self._records = {call.key: call for call in run.calls}
        self._message = conversation.writer(step.results.id) if step.results is not None else None
        self._answered = {part.id for part in step.results.parts} if step.results is not None else set()
        self._elsewhere: frozenset[str] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every call that is made here has its result."""
        return not any(self._open())

    @property
    def is_elsewhere(self) -> bool:
        """Whether the answer calls tools of somebody else, who has to write their results."""
        return any(self._is_others(part) for part in calls_of(self._answer))

    async def run(self) -> None:
        """Make the calls that may be made, and return when they have their results."""
        jobs = [job for part in self._open() if (job := self._job(part)) is not None]
        await self._check_lease()
        self._put_on_record(jobs)
        for job in jobs:
            if job.output is not None:
                self._write(job.part, job.output)
        async with anyio.create_task_group() as tasks:
            for job in jobs:
                if job.tool is not None:
                    tasks.start_soon(self._make, job.part, job.tool)

    def end(self, status: str) -> None:
        """End the message of the results, if there is one."""
        if self._message is not None and not self._message.is_redacted:
            self._message.finish(status)

    # Which calls

    def _open(self) -> Iterator[Part]:
        """Yield the calls that have no result yet, and get it here."""
        for part in calls_of(self._answer):
            if part.id not in self._answered and not self._is_others(part):
                yield part

    def _is_others(self, part: Part) -> bool:
        """Whether the log, and not this executor, offers what is called."""
        name = _name(part)
        if self._toolbox.find(name) is not None:
            return False
        if self._elsewhere is None:
            tools = normalize(self._conversation.lin(*self._answer.parents)).tools
            self._elsewhere = frozenset(tool.name for tool in tools)
        return name in self._elsewhere

    def _job(self, part: Part) -> _Job | None:
        """Return what is to be done with a call; nothing while a person has to be asked."""
        tool, record = self._toolbox.find(_name(part)), self._record(part)
        if tool is None:
            return _Job(part, output=failed(f"there is no tool {_name(part)!r} here"))
        is_begun = record is not None and record.state != PENDING
        if is_begun and not tool.is_repeatable:
            return _Job(part, output=failed(NOT_KNOWN))
        approved = record.approved if record is not None else None
        if tool.needs_approval and not is_begun and approved is not True:
            return _Job(part, output=failed(DENIED)) if approved is False else None
        return _Job(part, tool)

    def _record(self, part: Part) -> Call | None:
        return self._records.get(call_key(self._answer.id, part.id))

    # On record

    def _put_on_record(self, jobs: list[_Job]) -> None:
        """Write down what is about to be done, and for which calls a person has to be asked."""
        decided = {job.part.id for job in jobs}
        begun = [self._call(job.part, BEGUN) for job in jobs if job.tool is not None]
        asked = [
            self._call(part, PENDING)
            for part in self._open()
            if part.id not in decided and self._record(part) is None
        ]
        if begun or asked:
            self._conversation.runs.record(self._run.id, *begun, *asked)

    def _call(self, part: Part, state: str) -> Call:
        return Call(self._answer.id, part.id, state, self._epoch)

    # Results

    async def _make(self, part: Part, tool: CallableTool) -> None:
        arguments = part.content.get("arguments")
        output = await perform(tool, arguments if isinstance(arguments, str) else "")
        await self._check_lease()
        self._write(part, output, tool.output_limit)

    def _write(self, part: Part, output: ToolOutput, limit: int | None = None) -> None:
        """Write a result, and then that the call is done: killed between the two, it is written already."""
        if self._message is None:
            self._message = self._begin_message()
        if not self._message.is_redacted:
            self._message.grow([self._result(part, output, limit), *self._media(output)])
        self._conversation.runs.record(self._run.id, self._call(part, DONE))
        self._answered.add(part.id)

    def _result(self, part: Part, output: ToolOutput, limit: int | None) -> Part:
        """Return the part with a result: it has the id of the call's, so that each finds the other."""
        shown = output if limit is None else shortened(output, limit)
        content = {
            "call_id": part.content.get("call_id"),
            "content": shown.text,
            "is_error": output.is_error,
        }
        if shown is not output:
            whole = self._conversation.attach_bytes(output.text.encode(), mime="text/plain")
            content |= {key: whole.content[key] for key in ("sha256", "size", "mime")}
        return Part(part.id, "tool_result", content)

    def _media(self, output: ToolOutput) -> list[Part]:
        attach = self._conversation.attach_bytes
        return [attach(media.data, mime=media.mime, name=media.name) for media in output.media]

    def _begin_message(self) -> MessageWriter:
        names = dict.fromkeys(map(_name, calls_of(self._answer)))
        writer = self._conversation.stream(
            "tool",
            branch=self._run.branch,
            parents=[self._answer.id],
            author=Author("tool", self._conversation.author.device, ", ".join(names)),
            run=self._run.id,
        )
        self._conversation.runs.update(self._run.id, output=writer.message_id, epoch=self._epoch)
        return writer


def _name(part: Part) -> str:
    return str(part.content.get("name") or "")
