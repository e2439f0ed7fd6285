"""
Brings the conversations of this process up to date with what clients sent, behind the relay.

Relaying needs bytes alone; the executor, lists and search need the conversation. So what was
committed is applied a little later, many updates as one. Where somebody waits, for the answer to a
run or for a conversation's next change, that is soon; the others are followed when they have
gathered something, with little of the time, and at once where they are asked for. Under load the
groups grow, and nobody waits. Conversations that changed last stay in memory, as many as ``KEPT``.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

import anyio
import anyio.lowlevel

from crdt_conv import Change, Conversation, MalformedUpdate, Store, StoreError
from crdt_conv.runs.run import may_ask_for_run
from syncd.logs.events import event

logger = logging.getLogger("syncd")

SOON_S = 0.02
"""Where somebody waits: what comes within so long is applied together."""
SOON_SHARE = 0.2
"""How much of the time may be spent on that."""
LATER_S = 0.25
"""The same where nobody does."""
LATER_SHARE = 0.05
KEPT = 32
"""So many conversations stay in memory."""


class Follower:
    """Used from one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._behind: dict[str, list[tuple[int, bytes]]] = {}
        self._kept: OrderedDict[str, Conversation] = OrderedDict()
        self._failed: dict[str, list[tuple[int, bytes]]] = {}
        self._applying: tuple[str, int] = ("", 0)
        self._soon = _Turns(SOON_S, SOON_SHARE)
        self._later = _Turns(LATER_S, LATER_SHARE)

    def note(self, conversation_id: str, seq: int, update: bytes) -> None:
        """Hear of an update that stands in the log."""
        self._behind.setdefault(conversation_id, []).append((seq, update))
        is_awaited = may_ask_for_run(update) or self._store.is_watched(conversation_id)
        (self._soon if is_awaited else self._later).add(conversation_id)

    def forget(self, conversation_id: str) -> None:
        """Leave a conversation alone: it was deleted."""
        self._behind.pop(conversation_id, None)
        self._failed.pop(conversation_id, None)
        self._kept.pop(conversation_id, None)

    @property
    def behind(self) -> int:
        """How many conversations wait to be brought up to date."""
        return len(self._behind) + len(self._failed)

    def is_behind(self, conversation_id: str) -> bool:
        """Whether a conversation waits to be brought up to date."""
        return conversation_id in self._behind or conversation_id in self._failed

    def is_applying(self, change: Change) -> bool:
        """Whether a change is one of those that were noted here."""
        return self._applying == (change.conversation, change.seq)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._take_turns, self._soon)
            tasks.start_soon(self._take_turns, self._later)

    async def _take_turns(self, turns: _Turns) -> None:
        while True:
            conversation_id = await turns.take()
            began_s = time.perf_counter()
            self.catch_up_with(conversation_id)
            spent_s = time.perf_counter() - began_s
            await anyio.sleep(spent_s * (1 / turns.share - 1))

    def let_go(self, in_use: Callable[[str], bool]) -> None:
        """Keep no conversation in memory that is not in use, unless it is behind."""
        for conversation_id in tuple(self._kept):
            if not in_use(conversation_id) and conversation_id not in self._behind:
                del self._kept[conversation_id]
                self._store.let_go(conversation_id)

    def retry(self) -> None:
        """Try those again that could not be read, behind what came since."""
        failed, self._failed = self._failed, {}
        for conversation_id, rows in failed.items():
            self._behind[conversation_id] = rows + self._behind.get(conversation_id, [])
            self._later.add(conversation_id)

    def catch_up(self) -> None:
        """Apply all that is left, at once."""
        for conversation_id in tuple(self._behind):
            self._follow(conversation_id)

    async def caught_up(self) -> None:
        """Apply all that was left when this was called, and let others at it in between."""
        for conversation_id in tuple(self._behind):
            self.catch_up_with(conversation_id)
            await anyio.lowlevel.checkpoint()

    def catch_up_with(self, conversation_id: str) -> None:
        """Apply what is left for one conversation, at once: somebody reads it."""
        if conversation_id in self._behind:
            self._follow(conversation_id)

    def _follow(self, conversation_id: str) -> None:
        rows = self._behind.pop(conversation_id)
        self._applying = (conversation_id, rows[-1][0])
        try:
            conversation = self._store.join(conversation_id)
            self._keep(conversation)
            conversation.catch_up(rows)
        except MalformedUpdate as error:
            extra = event("update_refused", conversation=conversation_id, reason=str(error))
            logger.error("refused behind the commit", extra=extra)
        except StoreError as error:
            extra = event("store_failed", conversation=conversation_id, reason=str(error))
            logger.error("a conversation can't be read now", extra=extra)
            self._failed.setdefault(conversation_id, []).extend(rows)
        finally:
            self._applying = ("", 0)

    def _keep(self, conversation: Conversation) -> None:
        self._kept[conversation.id] = conversation
        self._kept.move_to_end(conversation.id)
        if len(self._kept) > KEPT:
            conversation_id, _ = self._kept.popitem(last=False)
            self._store.let_go(conversation_id)


class _Turns:
    """Conversations that wait for their turn, the one that came first first."""

    def __init__(self, delay_s: float, share: float) -> None:
        self.share = share
        self._delay_s = delay_s
        self._since: dict[str, float] = {}
        self._wake = anyio.Event()

    def add(self, conversation_id: str) -> None:
        """Have a turn; of two the first counts."""
        if conversation_id not in self._since:
            self._since[conversation_id] = time.monotonic()
            self._wake.set()

    async def take(self) -> str:
        """Wait for the next turn, and until its conversation has gathered something."""
        if not self._since:
            self._wake = anyio.Event()
            await self._wake.wait()
        conversation_id, since_s = next(iter(self._since.items()))
        await anyio.sleep(max(0.0, since_s + self._delay_s - time.monotonic()))
        del self._since[conversation_id]
        return conversation_id
