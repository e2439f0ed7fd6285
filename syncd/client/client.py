"""
The Python client: conversations of a local store, kept in sync with a server.

Example:
    ::

        async with SyncClient("ws://127.0.0.1:7878", token=...) as client:
            await client.sync(conv)      # both sides have everything
            conv.append("user", "Hi")    # goes out by itself, now or when the server is back
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from crdt_conv import Conversation
from syncd.client.link import Link, LinkStatus
from syncd.errors import SyncTimeout


class SyncClient:
    """Connections to one server, one for each conversation, while the context is open."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        """
        Make a client that is not connected.

        Args:
            url: ``ws://`` or ``http://``, with host and port; ``wss`` and ``https`` too.
            token: The server's token.
        """
        self.url = url
        self._token = token
        self._links: dict[str, Link] = {}
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        # Not handed to the group, which would wrap the caller's own error in an ExceptionGroup.
        await self._tasks.__aexit__(None, None, None)

    def follow(self, conversation: Conversation) -> Link:
        """Begin to keep a conversation in sync, and go on until the context ends."""
        link = self._links.get(conversation.id)
        if link is None:
            link = self._links[conversation.id] = Link(conversation, self.url, self._token)
            self._tasks.start_soon(link.run)
        return link

    async def sync(self, conversation: Conversation, *, timeout_s: float | None = None) -> None:
        """
        Wait until both sides have everything; from then on changes flow by themselves.

        Args:
            conversation: Its store keeps what waits.
            timeout_s: How long to wait; for ever, where it is left out.

        Raises:
            SyncRefused: The server said no for good.
            SyncTimeout: Not in this time. What was written waits in the store.
        """
        link = self.follow(conversation)
        try:
            with anyio.fail_after(timeout_s):
                await link.in_sync()
        except TimeoutError:
            raise SyncTimeout(f"{self.url}: {link.status}") from None

    def status(self, conversation: Conversation) -> LinkStatus:
        """Return how a conversation stands towards this server."""
        return self.follow(conversation).status
