"""Whole runs against a strict server: the real executor, the real adapter, real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import anyio

from adapters import Adapter, Executor
from adapters.answers import wait_until_over, watching
from adapters.tools import AnyTool
from crdt_conv import MAIN, Message, Run, Store, Target, new_part


class Dialogue:
    """A conversation with one or more adapters."""

    def __init__(self, store: Store, conversation_id: str | None = None) -> None:
        self.store = store
        self.conversation = store.create("Trip") if conversation_id is None else store.open(conversation_id)

    async def ask(self, adapter: str, text: str | None = None, branch: str = MAIN, **params: object) -> Run:
        """Say something, have it answered, and return the run."""
        if text is not None:
            self.conversation.append("user", text, branch=branch)
        return await self.over(self.conversation.runs.request(Target(adapter, params=params), branch))

    def request(self, adapter: str, text: str) -> Run:
        """Say something, and ask for an answer."""
        self.conversation.append("user", text)
        return self.conversation.runs.request(Target(adapter))

    async def over(self, run: Run) -> Run:
        """Wait for a run to end."""
        with anyio.fail_after(30):
            return await wait_until_over(self.conversation, run.id)

    async def pending(self, run: Run, number: int = 1) -> Run:
        """Wait until so many calls of a run wait for a person."""
        with anyio.fail_after(30):
            async with watching(self.conversation) as changes:
                while len((now := self.conversation.runs[run.id]).pending) != number:
                    await changes.wait()
        return now

    def reply(self, branch: str = MAIN) -> Message:
        """Return the newest message."""
        return self.conversation.log(branch).messages[-1]

    def results(self, *contents: str, branch: str = MAIN) -> None:
        """Answer the calls of the newest message."""
        calls = [part.content["call_id"] for part in self.reply(branch).parts if part.type == "tool_call"]
        parts = [
            new_part("tool_result", call_id=call_id, content=content, is_error=False)
            for call_id, content in zip(calls, contents, strict=True)
        ]
        self.conversation.append("tool", parts=parts, branch=branch)


@asynccontextmanager
async def dialogue(
    adapters: Sequence[Adapter], tools: Iterable[AnyTool] = (), max_rounds: int = 50
) -> AsyncIterator[Dialogue]:
    """Open a conversation that these adapters answer, with these tools."""
    with Store(":memory:") as store:
        async with Executor(store, adapters, tools=tools, max_rounds=max_rounds):
            yield Dialogue(store)
