"""A hub without a network: wires that note what is written, and a gate that says what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from crdt_conv import Store
from syncd.auth import AccessDenied, Credentials, Grant, Right
from syncd.hub import Hub
from syncd.limits import Limits
from syncd.protocol.frames import Frame, decode_frame
from syncd.protocol.hocuspocus.codec import Addressed, Body, Token, decode, encode
from syncd.rooms.member import Member
from syncd.sockets.collab import CollabReader
from syncd.sockets.solo import SoloMember, SoloReader
from syncd.sockets.wire import Outgoing, Reader


class FakeWire:
    """A wire that notes what is done to it, and is as slow as it is told."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.is_congested = self.congests = False
        self.is_paused = False

    def write(self, message: Outgoing, times: int = 1) -> None:
        self.sent.extend([message.data] * times)
        self.is_congested |= self.congests

    def offer(self, message: Outgoing) -> bool:
        is_free = not self.is_congested
        if is_free:
            self.write(message)
        return is_free

    def close(self, code: int, reason: str) -> None:
        assert self.closed is None
        self.closed = (code, reason)

    def abort(self) -> None:
        self.closed = (1006, "")

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    async def run(self, reader: Reader) -> None:
        raise NotImplementedError

    def take(self) -> list[bytes]:
        """Return what was written since the last time."""
        taken, self.sent = self.sent, []
        return taken


class FakeGate:
    """Gives rights by token, and takes them back."""

    def __init__(self, **rights: frozenset[Right]) -> None:
        self.rights = {"all": frozenset(Right), "reader": frozenset({Right.READ}), **rights}
        self.expires_s: float | None = None
        self._callback: Callable[[], None] = lambda: None

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        rights = self.rights.get(credentials.token or "")
        if not rights:
            raise AccessDenied("no such token", 4401)
        return Grant(credentials.token or "", rights, self.expires_s)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callback = callback
        return lambda: None

    def changed(self) -> None:
        self._callback()


class Solo:
    """A client in the y-websocket dialect."""

    def __init__(self, hub: Hub, room: str = "c", rights: frozenset[Right] = frozenset(Right)) -> None:
        self.wire = FakeWire()
        self.socket = hub.open_socket(self.wire)
        self.member: Member = SoloMember(self.socket, hub.rooms.open(room), Grant("x", rights))
        self.reader = SoloReader(hub, self.member)
        self.member.room.enter(self.member)
        self.member.room.welcome(self.member)

    def take(self) -> list[Frame]:
        return [decode_frame(data) for data in self.wire.take()]


class Collab:
    """A client in the Hocuspocus dialect."""

    def __init__(self, hub: Hub, tasks: anyio.abc.TaskGroup) -> None:
        self.wire = FakeWire()
        self.socket = hub.open_socket(self.wire)
        self.reader = CollabReader(hub, self.socket, Credentials(None), tasks)

    def say(self, body: Body, address: str = "c") -> None:
        self.reader.receive(encode(address, body, is_server=False))

    async def open(self, address: str = "c", token: str = "all") -> list[Body]:
        self.say(Token(token, "4.8.0"), address)
        await settled()
        return self.take(address)

    def take(self, address: str = "c") -> list[Body]:
        frames = [decode(data, is_server=True) for data in self.wire.take()]
        return [frame.body for frame in frames if isinstance(frame, Addressed) and frame.address == address]


async def settled() -> None:
    """Let everything happen that is under way, the disk included."""
    for _ in range(5):
        await anyio.sleep(0.005)


@asynccontextmanager
async def running(
    store: Store, gate: FakeGate | None = None, limits: Limits | None = None
) -> AsyncIterator[Hub]:
    """Run a hub whose sweeps a test makes itself."""
    hub = Hub(store, gate or FakeGate(), limits=limits, sweep_s=1000)
    async with hub.running():
        yield hub
