"""Whole runs against a strict server: the real executor, the real adapter, real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from adapters import Adapter, Executor
from adapters.answers import wait_until_over
from crdt_conv import MAIN, Conversation, Message, Run, Store, Target, new_part


class Dialogue:
    """A conversation with one or more adapters."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation

    async def ask(self, adapter: str, text: str | None = None, branch: str = MAIN, **params: object) -> Run:
        """Say something, have it answered, and return the run."""
        if text is not None:
            self.conversation.append("user", text, branch=branch)
        run = self.conversation.runs.request(Target(adapter, params=params), branch)
        with anyio.fail_after(30):
            return await wait_until_over(self.conversation, run.id)

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
async def dialogue(adapters: Sequence[Adapter]) -> AsyncIterator[Dialogue]:
    """Open a conversation that these adapters answer."""
    with Store(":memory:") as store:
        async with Executor(store, adapters):
            yield Dialogue(store.create("Trip"))
