"""
Members: one socket's place in one room, in its dialect.

Every frame that holds an update is answered in the order in which it came: acknowledged once it is
on disk, or refused with a reason. In the y-websocket dialect the echo is the acknowledgement.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from crdt_conv import MalformedUpdate, StoreError
from syncd.auth import Grant, Right
from syncd.protocol.lib0 import encode_var_bytes
from syncd.protocol.refusals import Refusal
from syncd.protocol.ysync import SyncStep1, SyncStep2, Update, encode_sync, sync_head
from syncd.rooms.tally import Kind
from syncd.sockets.socket import Socket
from syncd.sockets.wire import Outgoing

if TYPE_CHECKING:
    from syncd.rooms.room import Room


class Slot:
    """One frame's place in the order of answers."""

    __slots__ = ("is_settled", "kind", "member", "refusal")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.kind = Kind.COUNTED
        self.is_settled = False
        self.refusal: Refusal | None = None


class Member(ABC):
    """One socket in one room."""

    wants_echo: bool
    """Whether its own updates are sent back to it."""
    is_peer: bool = False
    """Whether it is another daemon, which may send on what came from here."""

    def __init__(
        self, socket: Socket, room: Room, grant: Grant, envelope: bytes, presence_envelope: bytes
    ) -> None:
        self.socket = socket
        self.room = room
        self.grant = grant
        self.envelope = envelope
        self.presence_envelope = presence_envelope
        self.unanswered: bytes | None = None
        self.is_unaware = False
        self.is_asked = False
        self.is_unasked = False
        self.is_behind = False
        self._slots: list[Slot] = []

    @property
    def can_write(self) -> bool:
        """Whether its updates are taken."""
        return self.grant.may(Right.WRITE)

    @property
    def is_answering(self) -> bool:
        """Whether something that it sent is not answered yet."""
        return bool(self._slots)

    def send(self, message: Outgoing) -> None:
        """Send a message to it alone."""
        self.socket.send(message)

    # Frames

    def step1(self, state_vector: bytes) -> bytes:
        """Return the frame that asks for what a replica lacks."""
        return encode_sync(SyncStep1(state_vector), self.envelope)

    def diff(self, update: bytes) -> Outgoing:
        """Return the message that answers such a question."""
        return Outgoing(sync_head(SyncStep2(update), self.envelope), update)

    def relayed(self, update: bytes) -> bytes:
        """Return the frame that holds an update."""
        return encode_sync(Update(update), self.envelope)

    def presence(self, payload: bytes) -> bytes:
        """Return the frame that tells of presence."""
        return encode_var_bytes(payload, self.presence_envelope)

    def echo(self, update: bytes) -> None:
        """Send an update back that nobody else needs, to one who waits for it."""
        if self.wants_echo:
            self.send(Outgoing(self.relayed(update)))

    # Answers, in order

    def expect(self) -> Slot:
        """Keep a place for the answer to a frame."""
        slot = Slot(self)
        self._slots.append(slot)
        return slot

    def settle(self, slot: Slot, refusal: Refusal | None = None) -> None:
        """Answer a frame, once all before it are answered."""
        slot.is_settled, slot.refusal = True, refusal
        self.answer_settled()

    def answer_settled(self) -> None:
        """Answer all frames that can be answered: many that are stored, with one write."""
        slots = self._slots
        count = next((at for at, slot in enumerate(slots) if not slot.is_settled), len(slots))
        settled, slots[:count] = slots[:count], []
        stored = 0
        for slot in settled:
            if slot.refusal is None:
                stored += self._worth(slot)
                continue
            self._acknowledge(stored)
            stored = 0
            self.is_behind = True
            self._refuse(slot, slot.refusal)
        self._acknowledge(stored)

    def left(self) -> None:
        """
        Owe no answers any more: it has left its room.

        Who opens the document again on the same socket would count them for what it sends then.
        """
        self._slots.clear()

    @abstractmethod
    def weigh(self, slot: Slot, update: bytes, *, is_diff: bool) -> None:
        """Find out what its answer is worth to the client; ``update`` was checked."""

    def _worth(self, slot: Slot) -> int:
        """Return how often to acknowledge a frame that is stored."""
        del slot
        return 1

    @abstractmethod
    def _acknowledge(self, count: int) -> None:
        """Say so many times that what was sent is on disk."""

    @abstractmethod
    def _refuse(self, slot: Slot, refusal: Refusal) -> None:
        """Say of one frame why its update was not taken."""

    @abstractmethod
    def expel(self, code: int, reason: str) -> None:
        """Have it leave the room."""

    def regrant(self, grant: Grant) -> None:
        """Take note of what it may do from now on; what was refused is asked for, once it may be written."""
        could_write, self.grant = self.can_write, grant
        if self.can_write and not could_write and self.is_behind:
            self.room.ask(self)

    @abstractmethod
    def ask_for_token(self) -> None:
        """Ask for a new token, where the dialect can."""

    def caught_up(self) -> None:
        """Answer what was left open while the socket lagged."""
        state_vector, self.unanswered = self.unanswered, None
        if state_vector is not None:
            try:
                self.room.answer(self, state_vector)
            except MalformedUpdate as error:
                self.room.refuse(self, str(error))
            except StoreError as error:
                self.room.fail(self, error)
        if self.is_unasked:
            self.is_unasked = False
            self.room.ask(self)
        if self.is_unaware:
            self.is_unaware = False
            self.room.present(self)
