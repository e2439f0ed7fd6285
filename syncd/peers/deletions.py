"""
Deletions between two daemons: each end is told what the other one deleted, and deletes it, too.

A tombstone keeps a conversation from coming back where it was deleted; that is not enough where others still
have it, for they would keep it, and show it. Who is a peer is trusted with that, as with everything else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from crdt_conv import Store, StoreError, UnknownConversation
from syncd.client.remote import Remote
from syncd.errors import SyncRefused
from syncd.logs.events import event

logger = logging.getLogger("syncd")


class Say(Protocol):
    """Writes a line to the log, now and then."""

    def __call__(self, name: str, text: str, **fields: object) -> None:
        """Write an event."""


class Deletions:
    """What one peer is to be told, and asked. Used from one event loop."""

    def __init__(self, store: Store, url: str, say: Say) -> None:
        self.count = 0
        self._store = store
        self._url = url
        self._say = say
        self._to_tell: dict[str, None] = {}
        self._to_ask: dict[str, None] = {}

    def tell(self, names: Iterable[str]) -> None:
        """Have conversations deleted there that were deleted here."""
        self._to_tell.update(dict.fromkeys(names))

    def ask(self, name: str) -> None:
        """Find out whether a conversation was deleted there."""
        self._to_ask[name] = None

    async def carry(self, remote: Remote) -> None:
        """
        Ask and tell what is to be asked and told.

        Raises:
            SyncTimeout: It was not reached; what is left is done next time.
        """
        while self._to_ask:
            name = next(iter(self._to_ask))
            if self._store.engine.has(name) and await remote.is_deleted(name):
                self._delete_here(name)
            self._to_ask.pop(name, None)
        while self._to_tell:
            name = next(iter(self._to_tell))
            try:
                await remote.delete(name)
            except SyncRefused as refused:
                # It stays there; it does not come back here.
                self._say("peer_refused", "a deletion is refused", conversation=name, reason=str(refused))
            self._to_tell.pop(name, None)

    def _delete_here(self, name: str) -> None:
        try:
            self._store.delete(name)
        except UnknownConversation:
            return
        except StoreError as error:
            self._say("store_failed", "can't be deleted", conversation=name, reason=str(error))
            return
        self.count += 1
        # It comes from there.
        self._to_tell.pop(name, None)
        extra = event("peer_deleted", url=self._url, conversation=name)
        logger.info("a conversation was deleted by a peer", extra=extra)
