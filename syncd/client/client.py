"""
The Python client: conversations of a local store, kept in sync with a server over one socket.

Example:
    ::

        async with SyncClient("ws://127.0.0.1:7878", token=...) as client:
            await client.sync(conv)      # both sides have everything
            conv.append("user", "Hi")    # goes out by itself, now or when the server is back
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

import anyio
from anyio.abc import TaskGroup
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from crdt_conv import Conversation, MalformedUpdate
from syncd.client.backoff import Backoff
from syncd.client.blobs import Blobs
from syncd.client.dial import UNREACHED, opened, reason_of
from syncd.client.link import Line, Link, LinkStatus, State
from syncd.client.remote import Remote
from syncd.errors import SyncTimeout
from syncd.protocol import RemoteProtocolError, is_final
from syncd.protocol.hocuspocus.codec import PONG, Addressed, Ping, decode, document_of

_WORST_FIRST: Final[tuple[State, ...]] = ("offline", "syncing", "refused", "read-only", "in sync")


class SyncClient:
    """A connection to one server, which comes back by itself while the context is open."""

    def __init__(self, url: str, *, token: str | Callable[[], str] | None = None) -> None:
        """
        Make a client that is not connected.

        Args:
            url: ``ws://`` or ``http://``, with host and port; ``wss`` and ``https`` too.
            token: The server's token, or what returns one that is valid now.
        """
        self.url = url
        self._token = token
        self._links: dict[str, Link] = {}
        self._outgoing: list[bytes] = []
        self._wake = anyio.Event()
        self._line: Line | None = None
        self._lost = ""
        self._blobs = Blobs(self.remote)
        self._is_running = False
        self._changed = anyio.Event()
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link in self._links.values():
            link.close()
        self._blobs.close()
        self._tasks.cancel_scope.cancel()
        # Not handed to the group, which would wrap the caller's own error in an ExceptionGroup.
        await self._tasks.__aexit__(None, None, None)

    def remote(self) -> Remote:
        """Return a connection to the server's HTTP API, which is not open yet."""
        return Remote(self.url, self._shown() or None)

    def follow(self, conversation: Conversation) -> Link:
        """Begin to keep a conversation in sync, and go on until the context ends."""
        link = self._links.get(conversation.id)
        if link is None:
            link = self._links[conversation.id] = Link(conversation, self.url, self._on_status)
            if not self._is_running:
                self._is_running = True
                self._tasks.start_soon(self._run)
            elif self._line is not None:
                link.begin(self._line)
            self._blobs.follow(link, self._tasks)
        return link

    def unfollow(self, conversation: Conversation) -> None:
        """Keep a conversation in sync no longer; what is written waits in its store."""
        link = self._links.pop(conversation.id, None)
        if link is not None:
            link.close()
            self._blobs.unfollow(conversation)
            self._on_status()

    async def sync(self, conversation: Conversation, *, timeout_s: float | None = None) -> None:
        """
        Wait until both sides have everything, attachments too; from then on changes flow by themselves.

        Args:
            conversation: Its store keeps what waits.
            timeout_s: How long to wait; for ever, where it is left out.

        Raises:
            SyncRefused: The server said no for good, or takes no updates from us.
            SyncTimeout: Not in this time. What was written waits in the store.
        """
        link = self.follow(conversation)
        try:
            with anyio.fail_after(timeout_s):
                await link.in_sync()
                await self._blobs.exchanged(conversation)
        except TimeoutError:
            blobs = self._blobs.waiting(conversation)
            rest = f", {blobs} attachments under way" if blobs else ""
            raise SyncTimeout(f"{self.url}: {link.status}{rest}") from None

    def status(self, conversation: Conversation) -> LinkStatus:
        """Return how a conversation stands towards this server."""
        return self.follow(conversation).status

    @property
    def statuses(self) -> Mapping[str, LinkStatus]:
        """How every conversation that is followed stands, by its id."""
        return {conversation_id: link.status for conversation_id, link in self._links.items()}

    @property
    def summary(self) -> LinkStatus:
        """
        How everything that is followed stands, as one: the state of what is furthest from in sync.

        Refused conversations don't count as waiting: they wait for a person.
        """
        statuses = list(self.statuses.values())
        for state in _WORST_FIRST:
            found = [status for status in statuses if status.state == state]
            if found:
                waiting = sum(status.waiting for status in statuses if status.state != "refused")
                return LinkStatus(state, waiting, next((each.error for each in found if each.error), ""))
        return LinkStatus("in sync", 0)

    async def changed(self) -> None:
        """Wait until some status may have changed."""
        await self._changed.wait()

    def _on_status(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # Connections

    async def _run(self) -> None:
        """Connect, exchange, come back after a break; ends only when all is refused, or cancelled."""
        backoff = Backoff()
        while not all(link.is_refused for link in self._links.values()):
            was_settled = await self._connect_once()
            await anyio.sleep(backoff.next_s(was_settled=was_settled))
        self._is_running = False

    async def _connect_once(self) -> bool:
        """Run one socket to its end; returns whether every conversation ever came to be in sync on it."""
        self._lost, was_settled = "the connection broke", False
        try:
            async with opened(self.url) as socket:
                was_settled = await self._exchange(socket)
        except ConnectionClosed as closed:
            self._on_closed(closed)
        except UNREACHED as failed:
            self._lost = reason_of(failed)
        except (RemoteProtocolError, MalformedUpdate) as unreadable:
            self._lost = f"the server sent what can't be read ({unreadable})"
        self._line = None
        for link in self._links.values():
            link.end(self._lost)
        return was_settled

    def _on_closed(self, closed: ConnectionClosed) -> None:
        received = closed.rcvd
        if received is None:
            return
        self._lost = received.reason or f"closed with {received.code}"
        if is_final(received.code):
            for link in self._links.values():
                link.refuse(self._lost, received.code)

    async def _exchange(self, socket: ClientConnection) -> bool:
        self._outgoing.clear()
        was_settled = False

        def come_back(reason: str) -> None:
            self._lost = reason
            self._tasks.start_soon(socket.close)

        self._line = Line(self._send, come_back, self._shown)
        for link in self._links.values():
            link.begin(self._line)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, socket)
                try:
                    async for data in socket:
                        self._receive(data)
                        was_settled = was_settled or all(link.is_settled for link in self._links.values())
                finally:
                    # The iteration ends quietly on a normal close; the writer must not outlive it.
                    tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise _first(group) from None
        except ConnectionClosed as closed:
            self._on_closed(closed)
        return was_settled

    def _shown(self) -> str:
        return (self._token() if callable(self._token) else self._token) or ""

    def _receive(self, data: str | bytes) -> None:
        if isinstance(data, str):
            raise RemoteProtocolError("a text, where frames are binary")
        frame = decode(data, is_server=True)
        if isinstance(frame, Addressed):
            link = self._links.get(document_of(frame.address))
            if link is not None:
                link.receive(frame.body)
        elif isinstance(frame, Ping):
            self._send(PONG)

    def _send(self, frame: bytes) -> None:
        self._outgoing.append(frame)
        self._wake.set()

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            frames, self._outgoing = self._outgoing, []
            for frame in frames:
                await socket.send(frame)
            if not self._outgoing:
                self._wake = anyio.Event()
                await self._wake.wait()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
