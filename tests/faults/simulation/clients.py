"""Clients in both dialects: they connect, exchange, write, and come back after every end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from syncd.protocol import Acknowledged, CloseCode, DiffRequested, UpdateReceived
from syncd.protocol.frames import SyncStep1, SyncStep2, Update, decode_frames, encode_frame
from syncd.protocol.hocuspocus.client import Closed, Denied, DocumentSession, Event, Refused
from syncd.protocol.hocuspocus.codec import Addressed, decode
from tests.faults.simulation.network import End, Manner, Socket
from tests.faults.simulation.replicas import Replica

TOKEN = "all"
EMPTY_UPDATE = b"\x00\x00"


class Claims(Protocol):
    """Who is told what clients were told."""

    def acknowledged(self, replica: Replica, upto: int) -> None:
        """A client takes the first so many updates of its log for stored."""

    def gone(self, replica: Replica, reason: str) -> None:
        """A client was told that a conversation is no more."""


Connect = Callable[[str, End, Manner, Random], Socket | None]


class Client(ABC):
    """One client; its replicas live on through all sockets."""

    def __init__(
        self, name: str, replicas: Sequence[Replica], manner: Manner, connect: Connect, claims: Claims
    ) -> None:
        self.name = name
        self.replicas = replicas
        self.manner = manner
        self.socket: Socket | None = None
        self.is_away = False
        self._connect = connect
        self._random = Random(name)
        self._connections = 0
        self._claims = claims

    @property
    def following(self) -> list[Replica]:
        """Its replicas of conversations that are still there."""
        return [replica for replica in self.replicas if not replica.is_gone]

    def connect(self) -> None:
        """Connect, where there is no socket, and again and again while nobody listens."""
        if self.socket is None and self.following and not self.is_away:
            self._connections += 1
            random = Random(f"{self.name}, connection {self._connections}")
            self.socket = self._connect(self._path(), self, self.manner, random)
            if self.socket is None:
                self._come_back()

    def cut(self) -> None:
        """Lose the socket."""
        if self.socket is not None:
            self.socket.cut()

    def change(self) -> None:
        """Write, connected or not."""
        if self.following:
            replica = self._random.choice(self.following)
            self._tell(replica, replica.change())

    def repeat(self) -> None:
        """Send something again that is in the log already, or nothing at all."""
        if self.following:
            replica = self._random.choice(self.following)
            self._tell(replica, self._random.choice([*replica.log[-10:-1], EMPTY_UPDATE]))

    def learn(self, replica: Replica, updates: Sequence[bytes]) -> None:
        """Hear from another replica, and pass on what is new."""
        for update in updates:
            if replica.take(update):
                self._tell(replica, update)

    def _tell(self, replica: Replica, update: bytes) -> None:
        if self.socket is not None and self.socket.is_open:
            self._wrote(replica, update)

    def closed(self, code: int, reason: str) -> None:
        """Come back, unless there is nothing to come back to."""
        self.socket = None
        if code == CloseCode.DELETED:
            for replica in self.replicas:
                self._lost(replica, reason)
        self._come_back()

    def _lost(self, replica: Replica, reason: str) -> None:
        replica.is_gone = True
        self._claims.gone(replica, reason)

    def _come_back(self) -> None:
        asyncio.get_running_loop().call_later(0.2 + 2 * self._random.random(), self.connect)

    def _send(self, frame: bytes | None) -> None:
        if self.socket is not None and frame is not None:
            self.socket.send(frame)

    @abstractmethod
    def _path(self) -> str:
        """Where it connects to."""

    @abstractmethod
    def opened(self) -> None:
        """Greet the daemon."""

    @abstractmethod
    def received(self, frame: bytes) -> None:
        """Take a frame."""

    @abstractmethod
    def _wrote(self, replica: Replica, update: bytes) -> None:
        """Send what was written."""


class SoloClient(Client):
    """The y-websocket dialect: one conversation."""

    def _path(self) -> str:
        return f"/sync/{self.replicas[0].conversation}?token={TOKEN}"

    def opened(self) -> None:
        self._send(encode_frame(SyncStep1(self.replicas[0].state_vector)))

    def received(self, frame: bytes) -> None:
        [replica] = self.replicas
        for message in decode_frames(frame):
            match message:
                case SyncStep1(state_vector):
                    self._send(encode_frame(SyncStep2(replica.lacking(state_vector))))
                case SyncStep2(update) | Update(update):
                    replica.take(update)

    def _wrote(self, replica: Replica, update: bytes) -> None:
        self._send(encode_frame(Update(update)))


class CollabClient(Client):
    """The Hocuspocus dialect: several conversations on a socket, by the sessions that our own client uses."""

    _sessions: dict[str, DocumentSession]

    def _path(self) -> str:
        return "/collab"

    def opened(self) -> None:
        self._sessions = {
            replica.conversation: DocumentSession(replica.conversation) for replica in self.following
        }
        for replica in self.following:
            for frame in self._sessions[replica.conversation].open(TOKEN, replica.state_vector):
                self._send(frame)

    def received(self, frame: bytes) -> None:
        told = decode(frame, is_server=True)
        if isinstance(told, Addressed):
            [replica] = [replica for replica in self.replicas if replica.conversation == told.address]
            session = self._sessions[told.address]
            for event in session.receive(told.body):
                self._handle(replica, session, event)

    def _handle(self, replica: Replica, session: DocumentSession, event: Event) -> None:
        match event:
            case DiffRequested(state_vector):
                self._send(session.diff(replica.lacking(state_vector), len(replica.log)))
            case UpdateReceived(update):
                replica.take(update)
            case Acknowledged(upto) if self.manner.is_honest:
                # Answers are counted: who loses or doubles frames on the way can't know whose they are.
                self._claims.acknowledged(replica, upto)
            case Closed(reason, is_final=True) | Denied(reason):
                self._lost(replica, reason)
            case Closed() | Refused():
                self.cut()

    def _wrote(self, replica: Replica, update: bytes) -> None:
        session = self._sessions.get(replica.conversation)
        if session is not None and update != EMPTY_UPDATE:
            self._send(session.update(update, len(replica.log)))
