"""
One other daemon: connected, lost, and connected again, for as long as this one runs.

The store is the outbox: what is written here stands in its log, and ``acknowledge`` moves the mark behind
which the other end has not said that it stored it. So a break, or the end of either daemon, loses nothing:
the next connection exchanges what was missed, by state vectors.
"""

from __future__ import annotations

import logging
import time
from typing import Final, Literal, TypeAlias

import anyio
import anyio.to_thread

from crdt_conv import Change, ConversationId, CrdtConvError, StoreError
from syncd.client.backoff import Backoff
from syncd.client.dial import Dialled, dialled
from syncd.client.remote import Remote
from syncd.errors import SyncError, SyncRefused
from syncd.hub import Hub
from syncd.logs.events import event
from syncd.logs.quotas import Quota
from syncd.peers.address import PeerAddress
from syncd.peers.attachments import Attachments
from syncd.peers.deletions import Deletions
from syncd.peers.exchange import Exchange
from syncd.peers.member import PeerSocket
from syncd.sockets.connection import Connection
from syncd.sockets.wire import AsgiWire

logger = logging.getLogger("syncd")

IDLE_S: Final = 30.0
"""A conversation in which nothing happened for so long is let go."""
SWEEP_S: Final = 1.0
"""How often that is looked for, the outbox is written down, and deletions are carried over."""

PeerState: TypeAlias = Literal["offline", "syncing", "in sync", "read-only", "refused"]
STATES: Final[tuple[PeerState, ...]] = ("offline", "syncing", "in sync", "read-only", "refused")


class Peer:
    """Used from one event loop."""

    def __init__(self, hub: Hub, address: PeerAddress, *, idle_s: float = IDLE_S) -> None:
        """
        Know a daemon that nobody connects to yet.

        Args:
            hub: What is exchanged with it.
            address: Where it is.
            idle_s: When a conversation is let go.
        """
        self.url = address.url
        self.error = ""
        self.connected = 0
        self._sent = self._received = 0
        self._hub = hub
        self._address = address
        self._idle_s = idle_s
        self._is_refused = False
        self._was_settled = False
        self._exchange: Exchange | None = None
        self._deletions = Deletions(hub.store, address.url, self._say)
        self._attachments = Attachments(hub.store, self._say)
        self._stored: dict[str, int] = {}
        self._quota = Quota()

    # What it looks like

    @property
    def state(self) -> PeerState:
        """How it stands."""
        if self._is_refused:
            return "refused"
        exchange = self._exchange
        if exchange is None:
            return "offline"
        if not exchange.is_settled:
            return "syncing"
        return "in sync" if all(member.takes_updates for member in exchange.members) else "read-only"

    @property
    def open_count(self) -> int:
        """How many conversations are exchanged now."""
        return len([*self._exchange.members]) if self._exchange is not None else 0

    @property
    def behind(self) -> int:
        """How many conversations are not in sync, as far as is known; without a connection nothing is."""
        return self._exchange.behind if self._exchange is not None else 0

    @property
    def sent(self) -> int:
        """How many frames with updates were sent there."""
        return self._sent + (self._exchange.sent if self._exchange is not None else 0)

    @property
    def received(self) -> int:
        """How many frames about documents came from there."""
        return self._received + (self._exchange.received if self._exchange is not None else 0)

    @property
    def deleted(self) -> int:
        """How many conversations were deleted here because they were there."""
        return self._deletions.count

    def waiting(self) -> int:
        """Count the updates that it has not stored yet, as far as is known; may be called in any thread."""
        store = self._hub.store
        return sum(store.waiting(self.url, info.id) for info in store.list())

    # Connections

    async def run(self) -> None:
        """Connect, exchange, and come back after a break, until cancelled."""
        backoff = Backoff()
        stops = (
            self._hub.store.subscribe(self._on_change),
            self._hub.store.subscribe_deleted(self._on_deleted),
        )
        try:
            while True:
                was_settled = await self._connect_once()
                await anyio.sleep(backoff.next_s(was_settled=was_settled))
        finally:
            for stop in stops:
                stop()

    async def _connect_once(self) -> bool:
        """Run one connection to its end; returns whether everything ever came to be in sync on it."""
        began_s, before = time.monotonic(), self.connected
        # Only this ends the backoff, and not that the other end answers.
        self._was_settled = False
        try:
            async with (
                Remote(self.url, self._address.token or None) as remote,
                dialled(self.url) as connection,
            ):
                await self._run_exchange(remote, connection)
        except* (SyncError, CrdtConvError) as group:
            error = _first(group)
            self.error, self._is_refused = str(error), isinstance(error, SyncRefused)
        if self.connected > before:
            self._say("peer_lost", "a peer is gone", reason=self.error, seconds=time.monotonic() - began_s)
        else:
            self._say("peer_unreachable", "a peer is not reached", reason=self.error)
        return self._was_settled

    async def _run_exchange(self, remote: Remote, connection: Dialled) -> None:
        wire = AsgiWire(connection)
        socket = self._hub.open_socket(wire, Connection("peer", self.url), PeerSocket)
        token = self._address.token
        exchange = Exchange(self._hub, socket, token, on_stored=self._note, on_over=self._on_over)
        self._exchange = exchange
        self._attachments.begin()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._discover, remote, exchange)
                tasks.start_soon(exchange.open_wanted)
                tasks.start_soon(self._sweep, remote, exchange)
                await wire.run(exchange)
                self.error = connection.reason or "the connection broke"
                tasks.cancel_scope.cancel()
        finally:
            self._sent, self._received = self.sent, self.received
            self._exchange = None
            self._write_down(self._take_stored())

    def _say(self, name: str, text: str, **fields: object) -> None:
        omitted = self._quota.take(time.monotonic())
        if omitted is not None:
            logger.warning(text, extra=event(name, url=self.url, omitted=omitted or None, **fields))

    async def _discover(self, remote: Remote, exchange: Exchange) -> None:
        """Learn what there is, and what happens where nothing is open."""
        while True:
            async for kind, conversation in remote.events():
                if kind in {"ready", "reset"}:
                    self._listed(await remote.conversations(), exchange)
                elif kind == "deleted":
                    self._deletions.ask(conversation)
                else:
                    exchange.want(conversation)
            # It ended the stream in order: it restarts, say.
            await anyio.sleep(SWEEP_S)

    def _listed(self, theirs: list[str], exchange: Exchange) -> None:
        engine = self._hub.store.engine
        gone = {*engine.tombstones()}
        self._deletions.tell(name for name in theirs if name in gone)
        ours = [info.id for info in engine.conversations()]
        if not exchange.has_listed:
            self.error, self._is_refused = "", False
            self.connected += 1
            logger.info("a peer is connected", extra=event("peer_connected", url=self.url))
        exchange.want_all(name for name in (*ours, *theirs) if name not in gone)

    # What happens here

    def _on_change(self, change: Change) -> None:
        if self._exchange is not None:
            self._exchange.want(change.conversation)
            self._attachments.want(change.conversation, change.messages)

    def _on_deleted(self, conversation: ConversationId) -> None:
        self._stored.pop(conversation, None)
        self._deletions.tell([conversation])
        if self._exchange is not None:
            self._exchange.forget(conversation)

    def _on_over(self, name: str, reason: str) -> None:
        if not self._hub.store.engine.is_deleted(name):
            # Deleted there, or not for us: it is asked which.
            self._deletions.ask(name)
            self._say("peer_refused", "a peer ends a conversation", conversation=name, reason=reason)

    # The outbox

    async def _sweep(self, remote: Remote, exchange: Exchange) -> None:
        while True:
            await anyio.sleep(SWEEP_S)
            await self._deletions.carry(remote)
            await self._attachments.carry(remote)
            exchange.let_go(self._idle_s)
            await anyio.to_thread.run_sync(self._write_down, self._take_stored())
            self._was_settled = self._was_settled or self.state in {"in sync", "read-only"}

    def _note(self, name: str, seq: int) -> None:
        self._stored[name] = seq
        self._attachments.look(name)

    def _take_stored(self) -> dict[str, int]:
        stored, self._stored = self._stored, {}
        return stored

    def _write_down(self, stored: dict[str, int]) -> None:
        store = self._hub.store
        for name, seq in stored.items():
            conversation = ConversationId(name)
            try:
                if store.engine.acknowledged(self.url, conversation) < seq:
                    store.acknowledge(self.url, conversation, seq)
            except StoreError:
                # Only counted: what is missing there is found by state vectors.
                return


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
