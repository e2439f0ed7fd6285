"""Watching a run from wherever its document is: the stream is the document."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio

from adapters.errors import RunFailed
from crdt_conv import Change, Conversation, Message, Run

CANCEL_S = 5.0
"""How long a person who pressed Ctrl-C waits for the run to be written down as cancelled."""


class Changes:
    """Lets a task wait for the next change of a conversation."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self, _change: Change) -> None:
        """Wake who waits."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until something has changed since the last call."""
        await self._event.wait()
        self._event = anyio.Event()


@asynccontextmanager
async def watching(conversation: Conversation) -> AsyncIterator[Changes]:
    """Listen to a conversation's changes meanwhile."""
    changes = Changes()
    unsubscribe = conversation.subscribe(changes.notify)
    try:
        yield changes
    finally:
        unsubscribe()


async def answer_pieces(conversation: Conversation, run_id: str) -> AsyncGenerator[str, None]:
    """
    Yield a run's answer as it grows, until the run is over.

    When another executor starts again, its answer begins on a new line.

    Raises:
        RunFailed: It ended without an answer.
    """
    shown_id, shown = "", 0
    async with watching(conversation) as changes:
        while True:
            run = conversation.runs[run_id]
            reply = answer(conversation, run)
            if reply is not None:
                if shown_id and reply.id != shown_id:
                    shown = 0
                    yield "\n"
                shown_id, text = reply.id, reply.text
                if len(text) > shown:
                    yield text[shown:]
                    shown = len(text)
            if run.is_over:
                _check(run)
                return
            await changes.wait()


async def wait_until_over(conversation: Conversation, run_id: str) -> Run:
    """Wait for a run to end."""
    async with watching(conversation) as changes:
        while not conversation.runs[run_id].is_over:
            await changes.wait()
    return conversation.runs[run_id]


async def cancel(conversation: Conversation, run_id: str) -> None:
    """Cancel a run and wait, also while this task itself is being cancelled, until that is written down."""
    with anyio.move_on_after(CANCEL_S, shield=True):
        conversation.runs.cancel(run_id)
        await wait_until_over(conversation, run_id)


def answer(conversation: Conversation, run: Run) -> Message | None:
    """Return the newest message that answers a run, if any has begun; of whole ones beside it, the winner."""
    graph = conversation.graph
    placed = [output for output in run.outputs if output in graph and graph[output].is_reply]
    if not placed:
        return None
    beside = (output for output in placed if graph[output].parents == graph[placed[-1]].parents)
    whole = run.winner(output for output in beside if graph[output].is_complete)
    return conversation.message(whole or placed[-1])


def _check(run: Run) -> None:
    if run.state != "complete":
        reason = (run.error or {}).get("message") or f"the run was {run.state}"
        raise RunFailed(str(reason))
