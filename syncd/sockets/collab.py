"""The Hocuspocus dialect on a socket: many documents, each with its own way in and out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup
from starlette.websockets import WebSocket

from crdt_conv import ConversationDeleted, CrdtConvError, InvalidMessage, MalformedUpdate, StoreError
from syncd.auth import AccessDenied, Credentials, Grant, Right
from syncd.auth.http import credentials_of
from syncd.hub import Hub
from syncd.protocol import AwarenessReceived, CloseCode, DiffRequested, RemoteProtocolError, UpdateReceived
from syncd.protocol.hocuspocus.client import PEER_VERSION
from syncd.protocol.hocuspocus.codec import (
    PONG,
    Authenticated,
    Body,
    Close,
    Stateless,
    SyncStatus,
    TokenWanted,
    encode,
    envelope,
    presence_envelope,
)
from syncd.protocol.hocuspocus.server import (
    CloseRequested,
    CollabSession,
    Event,
    Pinged,
    TokenReceived,
    Told,
)
from syncd.protocol.refusals import Refusal, Status
from syncd.rooms.member import Member, Slot
from syncd.rooms.room import Room
from syncd.rooms.tally import Kind, Tally
from syncd.sockets.connection import Connection
from syncd.sockets.socket import Socket
from syncd.sockets.wire import Outgoing, wire_of

TOO_MANY: Final = "too many documents on one socket"


class CollabMember(Member):
    """One document of a socket."""

    wants_echo = False

    def __init__(self, reader: CollabReader, address: str, room: Room, grant: Grant) -> None:
        super().__init__(reader.socket, room, grant, envelope(address), presence_envelope(address))
        self.address = address
        self._reader = reader
        self._stored = Outgoing(encode(address, SyncStatus(is_stored=True), is_server=True))
        self._tally = Tally()

    def _say(self, body: Body) -> None:
        self.send(Outgoing(encode(self.address, body, is_server=True)))

    def _acknowledge(self, count: int) -> None:
        if count:
            self.socket.send_times(self._stored, count)

    def begin(self, state_vector: bytes) -> None:
        """
        Hear what the client has, and count anew, as it does.

        Raises:
            MalformedUpdate: ``state_vector`` is none.
        """
        self._tally.begin(state_vector)
        for slot in self._slots:
            slot.kind = Kind.UNCOUNTED

    def weigh(self, slot: Slot, update: bytes, *, is_diff: bool) -> None:
        """Find out what its answer is worth to the client."""
        slot.kind = self._tally.kind_of(update, is_diff=is_diff)

    def _worth(self, slot: Slot) -> int:
        return self._tally.stored(slot.kind)

    def _refuse(self, slot: Slot, refusal: Refusal) -> None:
        self._tally.refused(slot.kind)
        # In words first: stock clients take no notice of the status.
        self._say(Stateless(refusal.to_json()))
        self._say(SyncStatus(is_stored=False))

    def expel(self, code: int, reason: str) -> None:
        """Close this document; the others on the socket go on."""
        if code in {CloseCode.UNAUTHORIZED, CloseCode.FORBIDDEN}:
            self._reader.send_away(self.address, code, reason)
            return
        status = Status.TRY_AGAIN if code == CloseCode.TRY_AGAIN_LATER else Status.EVICTED
        self._say(Stateless(Refusal(status, reason).to_json()))
        self._say(Close(reason))
        self._reader.leave(self.address)

    def regrant(self, grant: Grant) -> None:
        """Say what it may do from now on."""
        self._say(Authenticated(is_read_only=not grant.may(Right.WRITE)))
        super().regrant(grant)

    def ask_for_token(self) -> None:
        """Ask for a new token."""
        self._say(TokenWanted())


@dataclass(slots=True)
class _Asking:
    """Somebody waits to be let into a document; ``scope`` ends that where the socket is gone."""

    newest: TokenReceived | None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class CollabReader:
    """Reads the frames of one socket, and lets its client into documents."""

    def __init__(self, hub: Hub, socket: Socket, credentials: Credentials, tasks: TaskGroup) -> None:
        self.socket = socket
        self.session = CollabSession()
        self._hub = hub
        self._credentials = credentials
        self._tasks = tasks
        self._members: dict[str, CollabMember] = {}
        self._asking: dict[str, _Asking] = {}

    def receive(self, data: bytes) -> None:
        """Handle a frame; one that can't be closes the socket."""
        if not self.socket.admits(len(data)):
            return
        told = self.session.read_update(data)
        if told is not None:
            self._take(*told)
            return
        try:
            for event in self.session.receive(data):
                self._handle(event)
        except RemoteProtocolError as error:
            self.socket.close(CloseCode.BAD_FRAME, str(error))

    def receive_text(self) -> None:
        """Refuse a text."""
        self.socket.close(CloseCode.BAD_FRAME, "frames are binary")

    def drained(self) -> None:
        """Hear that the peer reads on."""
        self.socket.drained()

    def _handle(self, event: Event) -> None:
        match event:
            case Told():
                self._hear(event)
            case TokenReceived(address):
                asking = self._asking.get(address)
                if asking is None:
                    asking = self._asking[address] = _Asking(event)
                    self._tasks.start_soon(self._let_in, address, asking)
                else:
                    # Answered one after another; only the newest matters.
                    asking.newest = event
            case CloseRequested(address):
                if address in self._members:
                    self._say(address, Close("closed by the client"))
                self.leave(address)
            case Pinged():
                self.socket.send(Outgoing(PONG))

    def _take(self, address: str, update: bytes) -> None:
        member = self._members.get(address)
        if member is not None:
            try:
                member.room.submit(member, update, is_diff=False)
            except StoreError as error:
                member.room.fail(member, error)

    def _hear(self, told: Told) -> None:
        member = self._members.get(told.address)
        if member is None:
            return
        room = member.room
        try:
            match told.event:
                case UpdateReceived(update, is_diff=is_diff):
                    room.submit(member, update, is_diff=is_diff)
                case DiffRequested(state_vector):
                    member.begin(state_vector)
                    room.answer(member, state_vector)
                case AwarenessReceived(payload):
                    room.announce(member, payload)
        except (MalformedUpdate, RemoteProtocolError) as error:
            room.refuse(member, str(error))
            self._say(told.address, Stateless(Refusal(Status.INVALID_UPDATE, str(error)).to_json()))
        except StoreError as error:
            room.fail(member, error)

    def _say(self, address: str, body: Body) -> None:
        self.socket.send(Outgoing(encode(address, body, is_server=True)))

    # In and out

    async def _let_in(self, address: str, asking: _Asking) -> None:
        with asking.scope:
            try:
                while asking.newest is not None and not self.socket.is_closed:
                    event, asking.newest = asking.newest, None
                    await self._answer(event)
            except Exception as error:  # noqa: BLE001 - what a gate raises ends one socket, and not the daemon
                self.socket.connection.failed(error)
                self.socket.close(CloseCode.INTERNAL_ERROR, "letting you in failed")
        del self._asking[address]

    async def _answer(self, event: TokenReceived) -> None:
        shown = Credentials(
            event.token or self._credentials.token, self._credentials.headers, self._credentials.client
        )
        try:
            grant = await self._hub.admissions.admit(shown, event.document)
            known = self._members.get(event.address)
            member = known or self._enter(event, grant)
        except AccessDenied as denied:
            self.socket.connection.denied(event.document, denied)
            self._turn_away(event.address, denied.code, denied.reason)
            return
        except CrdtConvError as error:
            code, reason = close_for(error)
            self.socket.connection.turned_away(event.document, code, error)
            self._turn_away(event.address, code, reason)
            return
        self._hub.admissions.add(member, shown)
        if known is not None:
            known.regrant(grant)
            return
        member.is_peer = event.version == PEER_VERSION
        frame, waiting = self.session.admit(event.address, is_read_only=not member.can_write)
        self.socket.send(Outgoing(frame))
        member.room.welcome(member)
        for told in waiting:
            self._hear(told)

    def _enter(self, event: TokenReceived, grant: Grant) -> CollabMember:
        if len(self._members) >= self.socket.limits.documents:
            raise AccessDenied(TOO_MANY, CloseCode.FORBIDDEN)
        room = self._hub.rooms.open(event.document)
        member = self._members[event.address] = CollabMember(self, event.address, room, grant)
        room.enter(member)
        self.socket.connection.entered(room.id, grant.subject)
        self._hub.strangers.forget(self)
        return member

    def _turn_away(self, address: str, code: int, reason: str) -> None:
        if code == CloseCode.TRY_AGAIN_LATER:
            # The dialect has no "later" for one document: all of them come back.
            self.socket.close(code, reason)
            return
        if address in self._members:
            self.send_away(address, code, reason)
        else:
            self.socket.send(Outgoing(self.session.deny(address, reason)))

    def send_away(self, address: str, code: int, reason: str) -> None:
        """Have a client leave a document that it has no right to any more; its last one closes the socket."""
        self.socket.send(Outgoing(self.session.deny(address, reason)))
        self.leave(address)
        is_asking = any(other != address or asking.newest for other, asking in self._asking.items())
        if not self._members and not is_asking:
            self.socket.close(code, reason)

    def leave(self, address: str) -> None:
        """Leave a document."""
        member = self._members.pop(address, None)
        if member is not None:
            member.room.leave(member)
            self._hub.admissions.remove(member)

    def ended(self, code: int) -> None:
        """Leave every document: the socket is gone."""
        self._hub.strangers.forget(self)
        for asking in self._asking.values():
            asking.scope.cancel()
        for address in tuple(self._members):
            self.leave(address)
        self._hub.close_socket(self.socket, code)

    def give_up(self) -> None:
        """Close the socket: its client was let into nothing."""
        self.socket.close(CloseCode.TIMEOUT, "nobody was let in here in time")


def close_for(error: CrdtConvError) -> tuple[int, str]:
    """Return the close code and reason for a conversation that can't be opened."""
    if isinstance(error, ConversationDeleted):
        return CloseCode.DELETED, "the conversation was deleted"
    if isinstance(error, InvalidMessage):
        return CloseCode.BAD_FRAME, str(error)
    return CloseCode.TRY_AGAIN_LATER, "the conversation can't be read now: come back"


async def endpoint(websocket: WebSocket) -> None:
    """Serve a socket to its end."""
    await websocket.accept()
    hub: Hub = websocket.app.state.hub
    wire = wire_of(websocket)
    credentials = credentials_of(websocket)
    socket = hub.open_socket(wire, Connection("collab", credentials.client, shared=hub.quotas))
    socket.connection.opened()
    reader = CollabReader(hub, socket, credentials, hub.tasks)
    hub.strangers.expect(reader)
    await wire.run(reader)
