"""
One session: read, append, ask, show; and what other devices write meanwhile.

News is shown while a person is at the prompt, above it, and else behind the answer. Ctrl-C cancels the answer
that comes; pressed twice with nothing typed between, it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import anyio
from rich.markup import escape

from adapters import AdapterError
from adapters.answers import watching
from crdt_conv import Conversation, CrdtConvError, Message, Part, Run, Target
from syncd.cli.approvals import Approver, Interrupted
from syncd.cli.chat.executing import ChatExecutor
from syncd.cli.chat.lines import Reader
from syncd.cli.chat.slash import Leave, perform
from syncd.cli.common import console, errors
from syncd.cli.following import Waiting, waiting
from syncd.cli.look import print_log, print_message
from syncd.cli.running import Screen, watch
from syncd.cli.workspace import Workspace
from syncd.errors import SyncdError
from syncd.tools import Toolset

RECENT = 50
"""So many messages at the end of a branch are looked through for news."""
MISTAKES = (CrdtConvError, AdapterError, SyncdError, OSError)
"""What a session tells and survives."""


@dataclass
class Draft:
    """What the next message is going to be: files, and the message that it is written instead of."""

    parts: list[Part] = field(default_factory=list)
    edited: str | None = None
    text: str = ""


class Session:
    """One session at the prompt."""

    def __init__(
        self,
        workspace: Workspace,
        conversation: Conversation,
        branch: str,
        wanted: Target,
        *,
        context: int,
        toolset: Toolset,
        db: Path,
    ) -> None:
        self.workspace = workspace
        self.conversation = conversation
        self.branch = branch
        self.executor = ChatExecutor(workspace, conversation, wanted, context, toolset)
        self.toolset = toolset
        self.db = db
        self.draft = Draft()
        self._reader: Reader
        self.approver: Approver
        self._shown: set[str] = set()
        self._waiting: set[str] = set()
        self._interrupts = 0
        self._answering: anyio.CancelScope | None = None

    async def run(self, reader: Reader) -> None:
        """Read until the end of input, or until somebody leaves."""
        self._reader = reader
        self.approver = Approver(reader.ask, is_through_daemon=self.workspace.is_through_daemon)
        self.show_log()
        console.print("[dim]/help shows what else can be typed[/]")
        async with anyio.create_task_group() as tasks:
            await tasks.start(self.executor.serve)
            tasks.start_soon(self._listen)
            async with reader.interrupting(self._interrupt):
                await self._read_all()
            tasks.cancel_scope.cancel()

    async def _read_all(self) -> None:
        while True:
            self.show_news()
            try:
                line = await self._reader.read(self._prompt(), self.draft.text)
            except EOFError:
                console.print()
                return
            except Interrupted:
                self._interrupts += 1
                if self._interrupts > 1:
                    return
                self.draft = Draft()
                errors.print("Ctrl-C again leaves", style="dim")
                continue
            self._interrupts = 0
            if await self._handle(line.strip()):
                return

    def _prompt(self) -> str:
        files = f" +{len(self.draft.parts)}" if self.draft.parts else ""
        return f"{self.branch}{files}{' (edit)' if self.draft.edited else ''}> "

    async def _handle(self, line: str) -> bool:
        """Do what a line says; returns whether that was to leave."""
        self.draft.text = ""
        try:
            if line.startswith("/"):
                await perform(self, line)
            elif line or self.draft.parts:
                await self.say(line)
            await self.workspace.settle(self.conversation)
        except Leave:
            return True
        except Interrupted:
            self._interrupts += 1
            errors.print("cancelled", style="dim")
        except MISTAKES as error:
            errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return self._interrupts > 1

    async def say(self, text: str) -> None:
        """Write a message, or the one that is edited anew, and ask for an answer."""
        draft, self.draft = self.draft, Draft()
        if draft.edited is not None:
            message = self.conversation.edit(draft.edited, text, parts=draft.parts)
            self.enter(message.branch)
        else:
            message = self.conversation.append("user", text or None, parts=draft.parts, branch=self.branch)
        self._shown.add(message.id)
        await self.ask(self.conversation.runs.request(self.executor.target, self.branch))

    async def ask(self, run: Run) -> None:
        """Show a run until it is over; Ctrl-C cancels it."""
        with anyio.CancelScope() as scope:
            self._answering = scope
            try:
                await watch(self.conversation, run, Screen(), self.approver)
            finally:
                self._answering = None
                self._shown.update(self.conversation.runs[run.id].outputs)
        if scope.cancelled_caught:
            errors.print("cancelled", style="dim")

    def _interrupt(self) -> None:
        self._interrupts += 1
        if self._answering is not None:
            self._answering.cancel()

    def enter(self, branch: str) -> None:
        """Go to a branch."""
        self.branch = branch
        self._shown.update(message.id for message in self.conversation.log(branch, last=RECENT).messages)

    # What is shown

    def show_log(self, *, hidden: bool = False) -> None:
        """Show the branch."""
        log = self.conversation.log(self.branch)
        print_log(self.conversation, log, hidden=hidden)
        self._shown.update(message.id for message in log.messages if message.status != "streaming")

    def last(self, role: str) -> Message | None:
        """Return the last message of a role on this branch."""
        messages = self.conversation.log(self.branch).messages
        return next((message for message in reversed(messages) if message.role == role), None)

    def waiting(self) -> list[Waiting]:
        """Return all calls that wait for a person."""
        runs = self.conversation.runs
        return [call for run in runs.all() for call in waiting(self.conversation, run)]

    def show_news(self) -> None:
        """Show what others wrote on this branch, and what waits for approval, each once."""
        if self.branch in self.conversation.branches:
            for message in self.conversation.log(self.branch, last=RECENT).messages:
                if message.id not in self._shown and message.status != "streaming":
                    self._shown.add(message.id)
                    print_message(message)
        for call in self.waiting():
            if call.call not in self._waiting:
                self._waiting.add(call.call)
                told = f"[yellow]{escape(call.name)} {escape(call.arguments)} waits: /approve[/]"
                console.print(told, soft_wrap=True)

    async def _listen(self) -> None:
        async with watching(self.conversation) as changes:
            while True:
                await changes.wait()
                if self._reader.is_reading:
                    self.show_news()
