"""Leases of a daemon, for an executor that is its client; see ``adapters.executor.leases.Grants``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import anyio

from crdt_conv import Change, Conversation
from crdt_conv.ids import RunId
from crdt_conv.yjs.updates import read_state_vector
from syncd.client.client import SyncClient
from syncd.client.remote import Remote
from syncd.errors import SyncRefused, SyncTimeout

ASK_S: Final = 4.0
"""Who does not answer in so long is not reached; a lease is renewed more often than it ends."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease's epoch, and what the daemon had of the conversation when it granted it."""

    epoch: int
    state_vector: bytes


class LeaseServer(Protocol):
    """A daemon, as far as it grants leases. Every call raises ``SyncRefused`` or ``SyncTimeout``."""

    async def acquire_lease(self, conversation: str, run: str, owner: str, ttl_s: float) -> Granted | None:
        """Take or renew a lease; nothing where another holds it, the run is over, or not there yet."""

    async def release_lease(self, conversation: str, run: str, owner: str) -> None:
        """End a lease."""


class SharedGrants:
    """
    Grants what a daemon grants, once this replica has all that the daemon had.

    Otherwise a replica that lags would call a tool again, whose result the last owner wrote.
    """

    def __init__(self, server: LeaseServer, is_in_sync: Callable[[Conversation], bool]) -> None:
        """
        Name the daemon.

        Args:
            server: The way to it.
            is_in_sync: Whether it has all that is here of a conversation.
        """
        self._server = server
        self._is_in_sync = is_in_sync

    async def acquire(self, conversation: Conversation, run: RunId, owner: str, ttl_s: float) -> int | None:
        """
        Take or renew a lease.

        Raises:
            ConnectionError: The daemon can't be reached.
        """
        granted = await _reaching(self._server.acquire_lease(conversation.id, run, owner, ttl_s))
        if granted is None:
            return None
        with anyio.move_on_after(ttl_s / 3):
            await _has(conversation, granted.state_vector)
            return granted.epoch
        # Cut off between the grant and what it needs: another time.
        return None

    async def release(self, conversation: Conversation, run: RunId, owner: str) -> None:
        """
        End a lease, where the daemon has what was written under it; else it ends by itself.

        Raises:
            ConnectionError: The daemon can't be reached.
        """
        if self._is_in_sync(conversation):
            await _reaching(self._server.release_lease(conversation.id, run, owner))


class RemoteGrants(SharedGrants):
    """
    The leases of the daemon that a client is connected to.

    Example:
        ::

            async with SyncClient(url, token=token) as client:
                await client.sync(conversation)
                async with Executor(store, [LlamaCpp()], grants=RemoteGrants(client)) as executor:
                    executor.offer(conversation)
    """

    def __init__(self, client: SyncClient) -> None:
        super().__init__(
            _Http(client.remote), lambda conversation: client.status(conversation).state == "in sync"
        )


class _Http:
    def __init__(self, remote: Callable[[], Remote]) -> None:
        self._remote = remote

    async def acquire_lease(self, conversation: str, run: str, owner: str, ttl_s: float) -> Granted | None:
        async with self._remote() as remote:
            told = await remote.put_lease(conversation, run, owner, ttl_s)
        return None if told is None else granted_of(told)

    async def release_lease(self, conversation: str, run: str, owner: str) -> None:
        async with self._remote() as remote:
            await remote.delete_lease(conversation, run, owner)


def granted_of(told: Mapping[str, object]) -> Granted:
    """
    Read what a daemon granted.

    Raises:
        SyncRefused: It is no lease.
    """
    epoch, state_vector = told.get("epoch"), told.get("state_vector")
    if not isinstance(epoch, int) or not isinstance(state_vector, str):
        raise SyncRefused("the server does not answer like a crdt-conv daemon", 0)
    try:
        return Granted(epoch, bytes.fromhex(state_vector))
    except ValueError as error:
        raise SyncRefused("the server does not answer like a crdt-conv daemon", 0) from error


async def _reaching(call: Awaitable[Granted | None]) -> Granted | None:
    try:
        with anyio.fail_after(ASK_S):
            return await call
    except (SyncTimeout, SyncRefused, TimeoutError) as error:
        raise ConnectionError(str(error)) from error


async def _has(conversation: Conversation, state_vector: bytes) -> None:
    """Wait until a replica has all that a state vector names."""
    wanted, changed = read_state_vector(state_vector), anyio.Event()

    def on_change(_change: Change) -> None:
        changed.set()

    stop = conversation.subscribe(on_change)
    try:
        while True:
            here = read_state_vector(conversation.state_vector)
            if all(here.get(client, 0) >= clock for client, clock in wanted.items()):
                return
            await changed.wait()
            changed = anyio.Event()
    finally:
        stop()
