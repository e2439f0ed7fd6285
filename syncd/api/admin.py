"""
Upkeep by HTTP: for whoever may administer the whole server, one piece of work at a time.

It takes a while, so the answer is JSON lines: how far it is, and last what came of it. A client that goes
away ends it between two conversations, as the end of the server does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from crdt_conv import CrdtConvError, Store
from syncd.api.call import Call
from syncd.api.encoding import encode_json
from syncd.api.operations import LINES, Answer, Operation
from syncd.api.problems import Problem, problem_of
from syncd.api.schemas import ref
from syncd.api.streams import feed_of
from syncd.auth import Right
from syncd.view import compaction_json

TELL_S: Final = 0.25
"""So often is told how far it is."""


class _ServerEnds(Exception):
    """The work is given up: the server ends."""


async def compact(call: Call) -> ASGIApp:
    """Compact all logs."""
    state = call.request.app.state
    if getattr(state, "is_compacting", False):
        raise Problem(409, "a compaction is under way already")
    return _Compaction(call.store, state, lambda: feed_of(call.request.app).has_ended)


class _Compaction:
    """An ASGI answer that compacts a store meanwhile."""

    def __init__(self, store: Store, state: Any, has_ended: Callable[[], bool]) -> None:
        self._store = store
        self._state = state
        self._has_ended = has_ended
        self._progress = (0, 0)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Compact, and tell."""

        async def say(line: object, *, is_last: bool = False) -> None:
            body = encode_json(line) + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": not is_last})

        self._state.is_compacting = True
        try:
            headers = [(b"content-type", LINES.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_listen, receive, tasks.cancel_scope)
                tasks.start_soon(self._tell, say)
                last = await self._work()
                tasks.cancel_scope.cancel()
            await say(last, is_last=True)
        finally:
            self._state.is_compacting = False

    async def _tell(self, say: Callable[[object], Any]) -> None:
        while True:
            done, total = self._progress
            await say({"done": done, "total": total})
            await anyio.sleep(TELL_S)

    async def _work(self) -> object:
        try:
            # Conversations are read on the loop, where they are used; logs in a thread.
            for _ in self._store.reindexing():
                await anyio.lowlevel.checkpoint()
            done = await anyio.to_thread.run_sync(partial(self._store.compact_logs, progress=self._note))
        except CrdtConvError as error:
            return {"problem": {"status": problem_of(error).status, "detail": problem_of(error).detail}}
        except _ServerEnds:
            return {"problem": {"status": 503, "detail": "the server ends: what was compacted stays so"}}
        return {"conversations": [compaction_json(each) for each in done]}

    def _note(self, done: int, total: int) -> None:
        anyio.from_thread.check_cancelled()
        if self._has_ended():
            raise _ServerEnds
        self._progress = done, total


async def _listen(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


OPERATIONS: Final = (
    Operation(
        "compact",
        "POST",
        "/admin/compact",
        "Replace logs by snapshots, remove unused blobs, erase what was redacted or deleted",
        compact,
        Right.ADMIN,
        {200: Answer("Lines: how far it is, and last what came of it.", ref("Compaction"), LINES)},
        refusals=(409,),
    ),
)
