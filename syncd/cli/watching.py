"""``conv sync --watch``: all conversations of a store kept in sync with a daemon, however many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from crdt_conv import Conversation, Store
from syncd.client import SyncClient
from syncd.client.remote import Remote
from syncd.errors import SyncRefused, SyncTimeout

OPEN: Final = 500
"""So many conversations stay open, those in which something happened last: a socket carries 1,000."""
AT_ONCE: Final = 16
POLL_S: Final = 2.0
"""How soon a daemon that is away is asked again what it has."""

Names = Callable[[], Awaitable[list[str]]]


class Watch:
    """Follows what is on either side. Used from one event loop."""

    def __init__(self, store: Store, client: SyncClient, names: Names) -> None:
        """
        Follow nothing yet.

        Args:
            store: Where the conversations are.
            client: Exchanges them.
            names: Returns the ids on both sides; raises ``SyncTimeout`` where the daemon is away.
        """
        self._store = store
        self._client = client
        self._names = names
        self._open: dict[str, Conversation] = {}

    @property
    def conversations(self) -> list[Conversation]:
        """Those that are open, the one in which something happened last first."""
        return list(reversed(self._open.values()))

    async def run(self, remote: Remote) -> None:
        """
        Bring everything in sync, and again what changes there, until cancelled.

        Raises:
            SyncRefused: The daemon shows us nothing.
        """
        while True:
            try:
                await self._catch_up()
                async for kind, name in remote.events():
                    if kind in {"ready", "reset"}:
                        # What happened since the list was made is told from here on.
                        await self._catch_up()
                    elif kind != "deleted":
                        self._touch(name)
            except SyncTimeout:
                for info in self._store.list()[:OPEN]:
                    self._touch(info.id)
            await anyio.sleep(POLL_S)

    async def _catch_up(self) -> None:
        names = await self._names()
        for name in reversed(names[:OPEN]):
            self._touch(name)
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def one(name: str) -> None:
            async with limiter:
                conversation = self._store.join(name)
                try:
                    await self._client.sync(conversation)
                except SyncRefused:
                    # It stays in sight, and costs nothing: nobody sends anything about it.
                    self._open[name] = conversation
                else:
                    if name not in self._open:
                        self._client.unfollow(conversation)

        async with anyio.create_task_group() as tasks:
            for name in names[OPEN:]:
                tasks.start_soon(one, name)

    def _touch(self, name: str) -> None:
        conversation = self._open.pop(name, None) or self._store.join(name)
        self._open[name] = conversation
        self._client.follow(conversation)
        if len(self._open) > OPEN:
            statuses = self._client.statuses
            idle = next((each for each in self._open if statuses[each].state == "in sync"), None)
            if idle is not None:
                self._client.unfollow(self._open.pop(idle))
