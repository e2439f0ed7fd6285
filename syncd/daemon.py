"""
The daemon: store, rooms, executor and web server, composed and taken down in order.

On the way down the executor goes first, so that clients still see how its runs
ended; then peers and sockets; last the queue in front of the log.
"""

from __future__ import annotations

import errno
import gc
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel

from adapters import Adapter, AdapterError, Executor, find_model
from crdt_conv import Store
from syncd.app import create_app
from syncd.auth import AnyOf, JwtGate, TokenGate, keys_file, load_token, polled, revocations_file
from syncd.errors import StartError
from syncd.hub import Hub
from syncd.leases import HubGrants
from syncd.limits import Limits
from syncd.logs.events import event
from syncd.models import LocalModel, Models, offered
from syncd.peers import PeerAddress, Peering
from syncd.server import Server, load_tls
from syncd.signals import told_to_end
from syncd.tools import ServerSettings, Toolset
from syncd.webclient import BUILT

logger = logging.getLogger("syncd")


COLLECT_AFTER: Final = (20_000, 20, 20)
"""
How many new objects cause a search for cycles among the youngest, and how often one among the older.

What is allocated here lives for one update or as long as its connection, and few of it in cycles. Python's
own 700 make each group of a few hundred updates a reason to walk through all connections.
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``syncd serve`` was told."""

    db: Path
    host: str = "127.0.0.1"
    port: int = 7878
    model: Path | None = None
    has_executor: bool = True
    name: str = ""
    limits: Limits = field(default_factory=Limits)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    tls: tuple[Path, Path] | None = None
    local: LocalModel = field(default_factory=LocalModel)
    peers: tuple[PeerAddress, ...] = ()
    tools: tuple[ServerSettings, ...] = ()
    has_web: bool = True


@dataclass(frozen=True, slots=True)
class Ready:
    """Where the daemon listens; ``model`` is the file it answers with, ``notice`` why it has none."""

    url: str
    token: str
    model: Path | None
    notice: str = ""


async def serve(
    settings: Settings,
    announce: Callable[[Ready], None],
    *,
    keep_secret: Callable[[str], None] = lambda _: None,
) -> None:
    """
    Serve until SIGINT or SIGTERM.

    Args:
        settings: Where, and with what.
        announce: Called once when clients can connect.
        keep_secret: Called with each token of ours before anybody can connect, so that no log ever holds it.

    Raises:
        StartError: The port is in use, or the token can't be kept.
        StoreError: The store is in use, or can't be opened.
        AdapterError: The model that was asked for is not there.
    """
    gc.set_threshold(*COLLECT_AFTER)
    model, notice = _find_model(settings)
    with (
        _lifetime() as lifetime,
        Store(settings.db, name=settings.name, program="syncd serve") as store,
        _listen(settings) as listener,
    ):
        token = load_token(settings.db)
        of_peers = (peer.token for peer in settings.peers if peer.token)
        of_tools = (secret for server in settings.tools for secret in server.secrets)
        for secret in (token, *of_peers, *of_tools):
            keep_secret(secret)
        tls = load_tls(*settings.tls) if settings.tls is not None else None
        url = url_of(listener, is_encrypted=tls is not None)
        store.publish(url)
        tokens = JwtGate(keys_file(settings.db), revocations_file(settings.db))
        hub = Hub(store, AnyOf(TokenGate(token), tokens), limits=settings.limits)
        adapters = offered(model, settings.local) if settings.has_executor else []
        toolset = Toolset(settings.tools if adapters else ())
        peering = Peering(hub, settings.peers)
        app = create_app(
            hub,
            hosts=settings.hosts,
            origins=settings.origins,
            answering=Models(adapters, toolset),
            peers=peering.peers,
            web=BUILT if settings.has_web else None,
        )
        server = Server(app, hub.limits, tls)
        async with (
            told_to_end() as ending,
            hub.running(),
            polled(tokens),
            server.serving(listener),
            peering.running(),
            _executor(hub, adapters, toolset),
        ):
            announce(Ready(url, token, model, notice))
            lifetime.begin(url)
            lifetime.end(await ending.wait())
            hub.is_ending = True


class _Lifetime:
    """What is written down of the daemon as a whole, once it serves; before, an error is all there is."""

    def __init__(self) -> None:
        self._began_s: float | None = None

    def begin(self, url: str) -> None:
        """Clients can connect."""
        self._began_s = time.monotonic()
        logger.info("the daemon serves", extra=event("daemon_started", url=url))

    def end(self, reason: str) -> None:
        """It was told to end."""
        logger.info("the daemon is ending", extra=event("daemon_stopping", reason=reason))

    def ended(self, error: BaseException | None = None) -> None:
        """It has ended, all that it took in is on disk and its file is closed; or it failed."""
        if self._began_s is None:
            return
        seconds = time.monotonic() - self._began_s
        if error is None:
            logger.info("the daemon ended", extra=event("daemon_stopped", seconds=seconds))
        else:
            logger.critical(
                "the daemon failed", exc_info=error, extra=event("daemon_failed", seconds=seconds)
            )


@contextmanager
def _lifetime() -> Iterator[_Lifetime]:
    lifetime = _Lifetime()
    try:
        yield lifetime
    except BaseException as error:
        lifetime.ended(error)
        raise
    lifetime.ended()


@asynccontextmanager
async def _executor(hub: Hub, adapters: Sequence[Adapter], toolset: Toolset) -> AsyncIterator[None]:
    if not adapters:
        yield
        return
    async with (
        Executor(hub.store, adapters=adapters, tools=toolset.servers, grants=HubGrants(hub)) as executor,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_offer_all, hub.store, executor)
        yield
        tasks.cancel_scope.cancel()


async def _offer_all(store: Store, executor: Executor) -> None:
    """Find the runs that were asked for, or broke off, while no executor was here."""
    for info in store.list():
        executor.offer(store.open(info.id))
        await anyio.lowlevel.checkpoint()


def _find_model(settings: Settings) -> tuple[Path | None, str]:
    if not settings.has_executor:
        return None, "no executor: runs wait for another one"
    try:
        return find_model(settings.model), ""
    except AdapterError as error:
        if settings.model is not None:
            raise
        return None, f"no executor: {error}"


@contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    where = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"{where} is in use: stop what listens there, or choose --port") from error
        raise StartError(f"can't listen on {where}: {error.strerror or error}") from error
    with listener:
        yield listener


def url_of(listener: socket.socket, *, is_encrypted: bool = False) -> str:
    """Return the URL under which a socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if is_encrypted else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
