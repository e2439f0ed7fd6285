"""
Brings the conversations of this process up to date with what clients sent, behind the relay.

Relaying needs bytes alone; the executor, the list and search need the conversation. So what was
committed is applied a little later, many updates as one, and under load no more of the time is
spent on it than ``SHARE``: then the groups grow, and nobody waits. Conversations that changed last
stay in memory, as many as ``KEPT``.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

import anyio

from crdt_conv import Change, Conversation, MalformedUpdate, Store, StoreError
from syncd.logs import event

logger = logging.getLogger("syncd")

DELAY_S = 0.02
"""What comes within so long is applied together."""
SHARE = 0.2
"""How much of the time may be spent here."""
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
        self._wake = anyio.Event()

    def note(self, conversation_id: str, seq: int, update: bytes) -> None:
        """Hear of an update that stands in the log."""
        self._behind.setdefault(conversation_id, []).append((seq, update))
        self._wake.set()

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
        while True:
            await self._wake.wait()
            await anyio.sleep(DELAY_S)
            while self._behind:
                began_s = time.perf_counter()
                self._follow_next()
                spent_s = time.perf_counter() - began_s
                await anyio.sleep(spent_s * (1 / SHARE - 1))
            self._wake = anyio.Event()

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
            self._wake.set()

    def catch_up(self) -> None:
        """Apply all that is left, at once."""
        while self._behind:
            self._follow_next()

    def catch_up_with(self, conversation_id: str) -> None:
        """Apply what is left for one conversation, at once: somebody reads it."""
        if conversation_id in self._behind:
            self._follow(conversation_id)

    def _follow_next(self) -> None:
        self._follow(next(iter(self._behind)))

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
