"""
A peer's place in a room: a member like any client's, on a socket that was opened from here.

The frames are those of the Hocuspocus dialect from its client's side. What the other end lacks goes out when
it asks; from then on updates follow as they are committed here, merged while it reads slowly. Its updates
are taken like a client's, but only where they are news: so nothing goes round in circles, however daemons
are connected.

==================  ====================================================================
comes               then
==================  ====================================================================
Authenticated       a right to write, or only to read
SyncStep1           our diff goes out; from here on, updates
SyncStep2, Update   committed, and relayed to everybody else, if it is news
SyncStatus          what we sent is stored there; or it takes nothing from us on this socket
PermissionDenied    it does not let us in: ``on_left``
Close               the document is over there, for now or for good: ``on_left``
==================  ====================================================================
"""

from __future__ import annotations

from collections.abc import Callable

from syncd.auth import Grant, Right
from syncd.protocol import CloseCode
from syncd.protocol.hocuspocus.client import PEER_VERSION
from syncd.protocol.hocuspocus.codec import (
    Authenticated,
    Body,
    Close,
    PermissionDenied,
    Stateless,
    Sync,
    SyncStatus,
    Token,
    TokenWanted,
    encode,
    envelope,
    presence_envelope,
)
from syncd.protocol.refusals import Refusal, parse_refusal
from syncd.protocol.ysync import SyncMessage, SyncStep1, SyncStep2, Update
from syncd.rooms.member import Member, Slot
from syncd.rooms.room import Room
from syncd.sockets.socket import Held, Socket
from syncd.sockets.wire import Outgoing


class PeerSocket(Socket):
    """A socket that tells its members what was sent for them, so that they know what waits for an answer."""

    def relay(self, member: Held, update: bytes, message: Outgoing) -> bool:
        """Send an update, or hold it; not before the diff, which holds it, nor where we may only read."""
        assert isinstance(member, PeerMember)
        if not member.takes_updates:
            return False
        is_sent = super().relay(member, update, message)
        if is_sent:
            member.sent()
        return is_sent


class PeerMember(Member):
    """One conversation that is exchanged with one peer, for as long as their socket holds."""

    wants_echo = False
    is_peer = True

    def __init__(
        self,
        socket: Socket,
        room: Room,
        token: str,
        *,
        on_change: Callable[[PeerMember], None],
        on_left: Callable[[PeerMember, str], None],
    ) -> None:
        """
        Take a place that is not entered yet.

        Args:
            socket: Shared by all conversations that are exchanged with the peer.
            room: The conversation.
            token: Who we are to the other end.
            on_change: Called when something was sent, answered or taken.
            on_left: Called when it is over, with the reason.
        """
        grant = Grant("peer", frozenset(Right))
        super().__init__(socket, room, grant, envelope(room.id), presence_envelope(room.id))
        self.is_read_only = False
        self.refused = ""
        self._sent = 0
        self._token = token
        self._on_change = on_change
        self._on_left = on_left
        self._has_diffed = self._is_synced = False
        self._unanswered = 0
        self._told: Refusal | None = None

    @property
    def takes_updates(self) -> bool:
        """Whether the other end takes what is sent from here."""
        return self._has_diffed and not self.is_read_only and not self.refused

    @property
    def is_quiet(self) -> bool:
        """Whether both ends have everything, as far as either may write, and nothing is under way."""
        is_ours_there = (self._has_diffed and not self._unanswered) or self.is_read_only or bool(self.refused)
        return self._is_synced and is_ours_there and not self.is_answering and not self.socket.is_lagging

    @property
    def has_stored_all(self) -> bool:
        """Whether the other end has stored all that stands in the log here."""
        return self.is_quiet and self.takes_updates

    # Out

    def open(self) -> None:
        """
        Ask to be let in, and for what is missing here.

        Raises:
            StoreError: The document can't be read.
        """
        state_vector = self.room.document.state_vector
        self._say(Token(self._token, PEER_VERSION))
        self._say(Sync(SyncStep1(state_vector)))

    def close(self) -> None:
        """Say that this conversation is not exchanged any more, for now."""
        self._say(Close())

    def _say(self, body: Body) -> None:
        self.send(Outgoing(encode(self.room.id, body, is_server=False)))

    def diff(self, update: bytes) -> Outgoing:
        """Return the message that answers the other end's question; updates follow it."""
        self._has_diffed = True
        self.sent()
        return super().diff(update)

    def sent(self) -> None:
        """Hear that a frame with an update is on its way."""
        self._unanswered += 1
        self._sent += 1
        self._on_change(self)

    def take_sent(self) -> int:
        """Return how many frames with updates were sent since this was last asked."""
        sent, self._sent = self._sent, 0
        return sent

    # In

    def hear(self, body: Body) -> None:
        """
        Take what the other end says about this conversation.

        Raises:
            MalformedUpdate: It sent what is no state vector.
            StoreError: The document can't be read.
        """
        match body:
            case Sync(message):
                self._sync(message)
            case SyncStatus(is_stored):
                self._answered(is_stored=is_stored)
            case Authenticated(is_read_only):
                self.is_read_only = is_read_only
            case Stateless(text):
                self._told = parse_refusal(text) or self._told
            case TokenWanted():
                self._say(Token(self._token, PEER_VERSION))
            case PermissionDenied(reason) | Close(reason):
                self._on_left(self, self._told.reason if self._told is not None else reason)
        self._on_change(self)

    def _sync(self, message: SyncMessage) -> None:
        match message:
            case SyncStep1(state_vector):
                if not self.is_read_only:
                    # Asked by ``open``: two ends that each ask behind every answer never end.
                    self.is_asked = True
                    self.room.answer(self, state_vector)
            case SyncStep2(update):
                self._is_synced = True
                self.room.submit(self, update, is_diff=True)
            case Update(update):
                self.room.submit(self, update, is_diff=False)

    def _answered(self, *, is_stored: bool) -> None:
        self._unanswered = max(0, self._unanswered - 1)
        if not is_stored:
            # From here on nothing counts as stored: an update behind it may need it.
            told, self._told = self._told, None
            self.refused = told.reason if told is not None else "it takes no updates from us"

    # What a room says

    def _acknowledge(self, count: int) -> None:
        """Say nothing: the other end knows that it asks again when it comes back."""
        if count:
            self._on_change(self)

    def weigh(self, slot: Slot, update: bytes, *, is_diff: bool) -> None:
        """Weigh nothing: the other end waits for no answers."""

    def _refuse(self, slot: Slot, refusal: Refusal) -> None:
        """Say nothing; the room has written it down."""
        del slot, refusal
        self._on_change(self)

    def expel(self, code: int, reason: str) -> None:
        """Leave the conversation; where the store fails, end the socket, to come back later."""
        if code == CloseCode.TRY_AGAIN_LATER:
            self.socket.close(code, reason)
            return
        self.close()
        self._on_left(self, reason)

    def ask_for_token(self) -> None:
        """Ask nothing: our own rights here don't end."""
