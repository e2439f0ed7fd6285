"""
Attachments: blobs stand beside a document, and travel over HTTP once their messages are in sync.

A blob never changes and its name is its hash, so there is nothing to merge: who lacks one gets it.
What fails is tried again, with backoff, for as long as the client is open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import anyio
from anyio.abc import TaskGroup

from crdt_conv import Change, Conversation, StoreError
from syncd.client.backoff import Backoff
from syncd.client.link import Link
from syncd.client.remote import Remote
from syncd.errors import SyncRefused, SyncTimeout

logger = logging.getLogger("syncd.client")


class _Lot:
    """What one conversation has to exchange; ``missing`` is what neither side has yet."""

    def __init__(self) -> None:
        self.pending: set[str] = set()
        self.missing: set[str] = set()
        self.exchanged: set[str] = set()
        self.is_carried = False


class Blobs:
    """The blobs of all conversations of one client."""

    def __init__(self, remote: Callable[[], Remote]) -> None:
        """
        Make one that carries nothing yet.

        Args:
            remote: Makes a connection to the server.
        """
        self._remote = remote
        self._lots: dict[str, _Lot] = {}
        self._done = anyio.Event()
        self._stops: dict[str, Callable[[], None]] = {}

    def follow(self, link: Link, tasks: TaskGroup) -> None:
        """Carry a conversation's blobs, now and from here on, in a task while there are any."""
        conversation = link.conversation
        lot = self._lots[conversation.id] = _Lot()

        def want(messages: Iterable[str]) -> None:
            graph = conversation.graph
            named = {blob for key in messages if key in graph for blob in graph[key].blobs}
            lot.pending |= named - lot.exchanged
            if lot.pending and not lot.is_carried:
                lot.is_carried = True
                tasks.start_soon(self._carry, link, lot)

        def on_change(change: Change) -> None:
            want(change.messages)

        self._stops[conversation.id] = conversation.subscribe(on_change)
        want(node.id for node in conversation.graph)

    def close(self) -> None:
        """Follow nothing any more."""
        for stop in self._stops.values():
            stop()

    def unfollow(self, conversation: Conversation) -> None:
        """Carry a conversation's blobs no longer."""
        stop, lot = self._stops.pop(conversation.id, None), self._lots.pop(conversation.id, None)
        if stop is not None and lot is not None:
            stop()
            # Whoever carries it finds nothing left.
            lot.pending.clear()
            lot.missing.clear()

    def waiting(self, conversation: Conversation) -> int:
        """Count the blobs that one side has and the other lacks, as far as is known."""
        return len(self._lots[conversation.id].pending)

    async def exchanged(self, conversation: Conversation) -> None:
        """Wait until every blob that either side has is on both, or can't be."""
        while self._lots[conversation.id].pending:
            await self._done.wait()

    async def _carry(self, link: Link, lot: _Lot) -> None:
        backoff = Backoff()
        try:
            while lot.pending or lot.missing:
                await link.in_sync()
                try:
                    await self._exchange(link.conversation, lot)
                except (SyncTimeout, StoreError) as error:
                    logger.warning("conversation %s: blobs wait: %s", link.conversation.id, error)
                self._tell()
                if lot.pending or lot.missing:
                    # The device that has one may be about to bring it.
                    await anyio.sleep(backoff.next_s(was_settled=False))
        except SyncRefused as refused:
            logger.warning("conversation %s: blobs were refused: %s", link.conversation.id, refused)
        finally:
            lot.is_carried = False
            lot.pending.clear()
            lot.missing.clear()
            self._tell()

    def _tell(self) -> None:
        self._done.set()
        self._done = anyio.Event()

    async def _exchange(self, conversation: Conversation, lot: _Lot) -> None:
        async with self._remote() as remote:
            for sha256 in sorted(lot.pending | lot.missing):
                is_there = await self._exchange_one(remote, conversation, sha256)
                lot.pending.discard(sha256)
                (lot.exchanged if is_there else lot.missing).add(sha256)
                (lot.missing if is_there else lot.exchanged).discard(sha256)

    @staticmethod
    async def _exchange_one(remote: Remote, conversation: Conversation, sha256: str) -> bool:
        """Bring one blob to whoever lacks it; returns whether anybody has it."""
        data = conversation.blob(sha256)
        if data is None:
            data = await remote.get_blob(sha256, conversation.id)
            if data is not None:
                conversation.attach_bytes(data, mime="")
        elif not await remote.has_blob(sha256, conversation.id):
            await remote.put_blob(sha256, data, conversation.id)
        return data is not None
