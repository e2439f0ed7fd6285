"""The y-websocket dialect on a socket: one document, from its first frame to its last."""

from __future__ import annotations

from crdt_conv import MalformedUpdate, StoreError
from syncd.auth import Grant
from syncd.hub import Hub
from syncd.protocol import (
    AwarenessQueried,
    AwarenessReceived,
    CloseCode,
    DiffRequested,
    Event,
    RemoteProtocolError,
    UpdateReceived,
    read_events,
    read_update,
)
from syncd.protocol.frames import Denied, encode_frame
from syncd.protocol.refusals import Refusal, Status
from syncd.rooms.member import Member, Slot
from syncd.rooms.room import Room
from syncd.sockets.socket import Socket
from syncd.sockets.wire import Outgoing


class SoloMember(Member):
    """A member that has its socket for itself."""

    wants_echo = True

    def __init__(self, socket: Socket, room: Room, grant: Grant) -> None:
        super().__init__(socket, room, grant, b"\x00", b"\x01")

    def weigh(self, slot: Slot, update: bytes, *, is_diff: bool) -> None:
        """Count nothing: an echo says what it is for."""

    def _acknowledge(self, count: int) -> None:
        """Nothing: the echo did."""

    def _refuse(self, slot: Slot, refusal: Refusal) -> None:
        del slot
        self.send(Outgoing(encode_frame(Denied(refusal.reason))))
        if refusal.status is Status.INVALID_UPDATE:
            self.socket.close(CloseCode.BAD_FRAME, refusal.reason)

    def expel(self, code: int, reason: str) -> None:
        """Close the socket."""
        self.socket.close(code, reason)

    def ask_for_token(self) -> None:
        """Ask nothing: the dialect has no word for it."""


class SoloReader:
    """Reads the frames of one member."""

    def __init__(self, hub: Hub, member: SoloMember) -> None:
        self._hub = hub
        self._member = member

    def receive(self, data: bytes) -> None:
        """Handle a frame; one that can't be closes its sender, and only that."""
        member = self._member
        if not member.socket.admits(len(data)):
            return
        try:
            update = read_update(data)
            if update is not None:
                member.room.submit(member, update, is_diff=False)
                return
            for event in read_events(data):
                self._handle(event)
        except (RemoteProtocolError, MalformedUpdate) as error:
            self._refuse(str(error))
        except StoreError as error:
            member.room.fail(member, error)

    def _handle(self, event: Event) -> None:
        member = self._member
        match event:
            case UpdateReceived(update, is_diff=is_diff):
                member.room.submit(member, update, is_diff=is_diff)
            case DiffRequested(state_vector):
                member.room.answer(member, state_vector)
            case AwarenessReceived(payload):
                member.room.announce(member, payload)
            case AwarenessQueried():
                member.room.present(member)

    def receive_text(self) -> None:
        """Refuse a text."""
        self._refuse("frames are binary")

    def _refuse(self, reason: str) -> None:
        member = self._member
        member.room.refuse(member, reason)
        member.send(Outgoing(encode_frame(Denied(reason))))
        member.expel(CloseCode.BAD_FRAME, reason)

    def drained(self) -> None:
        """Hear that the peer reads on."""
        self._member.socket.drained()

    def ended(self, code: int) -> None:
        """Leave: the socket is gone."""
        member = self._member
        member.room.leave(member)
        self._hub.admissions.remove(member)
        self._hub.close_socket(member.socket, code)
