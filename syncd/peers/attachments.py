"""
Attachments between two daemons: blobs stand beside a document, and travel over HTTP behind their messages.

A blob never changes and its name is its hash, so there is nothing to merge: who lacks one gets it. One that
neither end has yet, since its device is still on the way, is asked for again for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import anyio.to_thread

from crdt_conv import Store, StoreError, UnknownConversation
from syncd.client.remote import Remote
from syncd.errors import SyncRefused
from syncd.peers.deletions import Say

LOOKED_AT: Final = 20
"""So many conversations are looked through at a time."""
TRIES: Final = 60
"""So often a blob that nobody has is asked for, each time a little later."""


class Attachments:
    """What one peer may lack, or have. Used from one event loop."""

    def __init__(self, store: Store, say: Say) -> None:
        self.count = 0
        self._store = store
        self._say = say
        self._to_look: dict[str, None] = {}
        self._looked: set[str] = set()
        self._pending: dict[tuple[str, str], int] = {}
        self._turn = 0

    @property
    def waiting(self) -> int:
        """How many blobs are not known to be on both ends."""
        return len(self._pending) + len(self._to_look)

    def begin(self) -> None:
        """Know nothing of what the other end has: a connection begins."""
        self._looked.clear()

    def look(self, name: str) -> None:
        """Bring all of a conversation's blobs to both ends, once for each connection."""
        if name not in self._looked:
            self._looked.add(name)
            self._to_look[name] = None

    def want(self, name: str, messages: Iterable[str]) -> None:
        """Bring the blobs of some messages to both ends."""
        try:
            graph = self._store.open(name).graph
        except (UnknownConversation, StoreError):
            return
        for key in messages:
            if key in graph:
                self._pending.update(dict.fromkeys(((name, blob) for blob in graph[key].blobs), 0))

    async def carry(self, remote: Remote) -> None:
        """
        Look through some conversations, and carry what is due.

        Raises:
            SyncTimeout: It was not reached; what is left is done next time.
        """
        for name in [*self._to_look][:LOOKED_AT]:
            del self._to_look[name]
            try:
                self.want(name, [node.id for node in self._store.open(name).graph])
            except (UnknownConversation, StoreError):
                continue
        self._turn += 1
        for (name, blob), tries in tuple(self._pending.items()):
            if self._turn % (tries + 1) == 0:
                await self._carry(remote, name, blob, tries)

    async def _carry(self, remote: Remote, name: str, blob: str, tries: int) -> None:
        try:
            is_there = await self._exchange(remote, name, blob)
        except (SyncRefused, StoreError) as refused:
            self._say("peer_refused", "an attachment is refused", conversation=name, reason=str(refused))
            is_there = True
        if is_there or tries + 1 >= TRIES:
            self._pending.pop((name, blob), None)
        else:
            self._pending[name, blob] = tries + 1

    async def _exchange(self, remote: Remote, name: str, blob: str) -> bool:
        """Bring one blob to the end that lacks it; returns whether any has it."""
        data = await anyio.to_thread.run_sync(self._store.get_blob, blob)
        if data is None:
            data = await remote.get_blob(blob, name)
            if data is not None:
                await anyio.to_thread.run_sync(self._store.put_blob, data)
                self.count += 1
        elif not await remote.has_blob(blob, name):
            await remote.put_blob(blob, data, name)
            self.count += 1
        return data is not None
