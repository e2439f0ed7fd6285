"""
A store that a command can write to, whoever holds it.

Where nobody does, the command takes it. Where a daemon of this machine does,
the command keeps a replica in memory and syncs it with that daemon, so that
every command is written once and gives the same results either way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crdt_conv import Conversation, Store, StoreLocked, UnknownConversation
from syncd.cli.common import default_name

if TYPE_CHECKING:
    from syncd.client import SyncClient

DAEMON_TIMEOUT_S = 30.0


@contextmanager
def reading(db: Path) -> Iterator[Store]:
    """Open a store for reading, beside whoever writes."""
    with Store(db, read_only=True) as store:
        yield store


class Workspace:
    """A store, and the daemon behind it if there is one."""

    def __init__(self, store: Store, db: Path, daemon: SyncClient | None = None) -> None:
        self.store = store
        self._db = db
        self._daemon = daemon

    @property
    def is_through_daemon(self) -> bool:
        """Whether a daemon holds the store, and with it the executor."""
        return self._daemon is not None

    async def create(self, title: str) -> Conversation:
        """Make a conversation."""
        conversation = self.store.create(title)
        await self.settle(conversation)
        return conversation

    async def open(self, conversation_id: str) -> Conversation:
        """
        Return a conversation by its id, or by the beginning of it if that is unambiguous.

        Raises:
            UnknownConversation: It is not here.
        """
        if self._daemon is None:
            return self.store.open(find(self.store, conversation_id))
        with reading(self._db) as held:
            conversation = self.store.join(find(held, conversation_id))
        await self.settle(conversation)
        return conversation

    async def enter(self, conversation_id: str) -> Conversation:
        """
        Return a conversation that may not be here yet.

        Raises:
            InvalidMessage: This can't be an id.
            ConversationDeleted: It was here, and was deleted.
        """
        conversation = self.store.join(conversation_id)
        await self.settle(conversation)
        return conversation

    async def settle(self, conversation: Conversation) -> None:
        """Wait until what was written is on disk, here or in the daemon."""
        if self._daemon is not None:
            await self._daemon.sync(conversation, timeout_s=DAEMON_TIMEOUT_S)


@asynccontextmanager
async def writing(db: Path) -> AsyncIterator[Workspace]:
    """
    Open a store for writing.

    Raises:
        StoreLocked: A program holds it that is no daemon.
        StoreError: It can't be opened.
    """
    try:
        store = Store(db, name=default_name(), program="conv")
    except StoreLocked as locked:
        if locked.owner is None or not locked.owner.url:
            raise
        async with _through_daemon(db, locked.owner.url) as workspace:
            yield workspace
        return
    with store:
        yield Workspace(store, db)


@asynccontextmanager
async def _through_daemon(db: Path, url: str) -> AsyncIterator[Workspace]:
    # Slow to load, and most commands find no daemon.
    from syncd.auth import read_token  # noqa: PLC0415
    from syncd.client import SyncClient  # noqa: PLC0415
    from syncd.client.remote import Remote  # noqa: PLC0415

    if url.startswith("https:"):
        # A certificate that nobody here vouches for is told at once: a client waits for a better one.
        async with Remote(url, None) as remote:
            await remote.reach()
    with reading(db) as held:
        device = held.device
    store = Store(":memory:", name=default_name(), device=device)
    with store:
        async with SyncClient(url, token=read_token(db)) as client:
            yield Workspace(store, db, client)


def find(store: Store, given: str) -> str:
    """
    Return the id that ``given`` is, or is the only one to begin with.

    Raises:
        UnknownConversation: There is none, or several.
    """
    if store.engine.has(given):
        return given
    matches = [info.id for info in store.list() if given and info.id.startswith(given.upper())]
    if len(matches) != 1:
        raise UnknownConversation(given)
    return matches[0]
