"""
What is exchanged with one peer on one socket.

All conversations that either side has are exchanged once, so many at a time. Those in which something
happens stay open, and the others are let go: memory follows what is in use, here and there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

import anyio
import anyio.lowlevel

from crdt_conv import ConversationDeleted, ConversationId, CrdtConvError, MalformedUpdate, StoreError
from syncd.hub import Hub
from syncd.peers.member import PeerMember
from syncd.protocol import CloseCode, RemoteProtocolError
from syncd.protocol.hocuspocus.codec import PONG, Addressed, Ping, Sync, decode, document_of
from syncd.sockets.socket import Socket
from syncd.sockets.wire import Outgoing

OPEN: Final = 256
"""So many conversations are exchanged at once."""


class Exchange:
    """Reads a socket, and has its members. Used from one event loop."""

    def __init__(
        self,
        hub: Hub,
        socket: Socket,
        token: str,
        *,
        on_stored: Callable[[str, int], None],
        on_over: Callable[[str, str], None],
    ) -> None:
        """
        Begin with nothing.

        Args:
            hub: What is exchanged.
            socket: Where.
            token: Who we are to the other end.
            on_stored: Hears up to where in a conversation's log the other end has stored everything.
            on_over: Hears of a conversation that can't be exchanged any more, and why.
        """
        self.sent = self.received = 0
        self.has_listed = False
        self._hub = hub
        self._socket = socket
        self._token = token
        self._on_stored = on_stored
        self._on_over = on_over
        self._members: dict[str, PeerMember] = {}
        self._used_s: dict[str, float] = {}
        self._base_seqs: dict[str, int] = {}
        self._wanted: dict[str, None] = {}
        self._wake = anyio.Event()

    @property
    def members(self) -> Iterable[PeerMember]:
        """What is open now."""
        return self._members.values()

    @property
    def behind(self) -> int:
        """How many conversations are not in sync, as far as is known."""
        return len(self._wanted) + sum(not member.is_quiet for member in self.members)

    @property
    def is_settled(self) -> bool:
        """Whether both ends have everything, as far as is known."""
        return self.has_listed and not self.behind

    # What is open

    def want_all(self, names: Iterable[str]) -> None:
        """Exchange all of these; nothing else is known on either side."""
        self.has_listed = True
        self._wanted.update(dict.fromkeys(names))
        self._wake.set()

    def want(self, name: str) -> None:
        """Exchange a conversation in which something happened, unless it is open."""
        if name not in self._members:
            self._wanted[name] = None
            self._wake.set()

    def forget(self, name: str) -> None:
        """Exchange a conversation no more: it was deleted."""
        self._wanted.pop(name, None)

    async def open_wanted(self) -> None:
        """Open what is wanted as there is room, until cancelled."""
        while True:
            while self._wanted and len(self._members) < OPEN:
                name = next(iter(self._wanted))
                del self._wanted[name]
                if name not in self._members:
                    self._enter(name)
                # Reading documents takes time: others have their turn.
                await anyio.lowlevel.checkpoint()
            if self._wanted:
                self.let_go(0.0)
            if not self._wanted or len(self._members) >= OPEN:
                self._wake = anyio.Event()
                await self._wake.wait()

    def _enter(self, name: str) -> None:
        try:
            room = self._hub.rooms.open(name)
            member = PeerMember(self._socket, room, self._token, on_change=self._changed, on_left=self._ended)
            self._base_seqs[name] = self._hub.store.last_seq(ConversationId(name))
            self._members[name] = member
            self._used_s[name] = time.monotonic()
            room.enter(member)
            member.open()
        except ConversationDeleted:
            return
        except CrdtConvError as error:
            self._leave(name)
            self._on_over(name, str(error))

    def let_go(self, idle_s: float) -> None:
        """Close what is in sync, and in which nothing happened for so long."""
        now_s = time.monotonic()
        for name, member in tuple(self._members.items()):
            if member.is_quiet and now_s - self._used_s[name] >= idle_s:
                member.close()
                self._leave(name)

    def _leave(self, name: str) -> None:
        member = self._members.pop(name, None)
        if member is not None:
            member.room.leave(member)
        self._used_s.pop(name, None)
        self._base_seqs.pop(name, None)

    # What members say

    def _changed(self, member: PeerMember) -> None:
        name = member.room.id
        self.sent += member.take_sent()
        self._used_s[name] = time.monotonic()
        if member.has_stored_all:
            self._on_stored(name, max(member.room.last_seq, self._base_seqs.get(name, 0)))
        if member.is_quiet:
            self._wake.set()

    def _ended(self, member: PeerMember, reason: str) -> None:
        self._leave(member.room.id)
        self._wake.set()
        self._on_over(member.room.id, reason)

    # The socket's reader

    def receive(self, data: bytes) -> None:
        """Take a frame; one that can't be read ends the socket."""
        if not self._socket.admits(len(data)):
            return
        try:
            frame = decode(data, is_server=True)
        except RemoteProtocolError as error:
            self._socket.close(CloseCode.BAD_FRAME, str(error))
            return
        if isinstance(frame, Addressed):
            self._hear(frame)
        elif isinstance(frame, Ping):
            self._socket.send(Outgoing(PONG))

    def _hear(self, frame: Addressed) -> None:
        name = document_of(frame.address)
        member = self._members.get(name)
        self.received += isinstance(frame.body, Sync)
        if member is None:
            if isinstance(frame.body, Sync):
                # It was on its way when the conversation was let go.
                self.want(name)
            return
        try:
            member.hear(frame.body)
        except (MalformedUpdate, RemoteProtocolError) as error:
            member.room.refuse(member, str(error))
        except StoreError as error:
            member.room.fail(member, error)

    def receive_text(self) -> None:
        """Refuse a text."""
        self._socket.close(CloseCode.BAD_FRAME, "frames are binary")

    def drained(self) -> None:
        """Hear that the peer reads on."""
        self._socket.drained()

    def ended(self, code: int) -> None:
        """Hear that the socket is gone: leave everything."""
        for name in tuple(self._members):
            self._leave(name)
        self._hub.close_socket(self._socket, code)
