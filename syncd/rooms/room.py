"""
Rooms: one document each, and the members that share it.

Rules. An update is checked, committed, and only then relayed and acknowledged. A room works on
bytes: what a client lacks is computed from the log, and no Y.Doc is needed to serve one; who reads
the conversation in this process is brought up to date behind it, by ``Follower``. What is written
in this process takes the same way out. A room lives while somebody is in it or something is on its
way to the disk; after that the document is only in the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from crdt_conv import Change, ConversationDeleted, MalformedUpdate, Store, StoreError
from crdt_conv.ids import ConversationId
from crdt_conv.yjs.encoded import EncodedDocument
from crdt_conv.yjs.updates import EMPTY_UPDATE, check_update
from syncd.auth import Right
from syncd.counters import Counters
from syncd.limits import Limits
from syncd.logs.events import event
from syncd.logs.quotas import Quota
from syncd.protocol import AwarenessStates, CloseCode
from syncd.protocol.lib0 import encode_var_bytes
from syncd.protocol.refusals import Refusal, Status
from syncd.rooms.commits import Committed, GroupCommit, Result
from syncd.rooms.follower import Follower
from syncd.rooms.member import Member, Slot
from syncd.sockets.wire import Outgoing

logger = logging.getLogger("syncd")

Clock = Callable[[], float]

SMALL_BYTES = 256 * 1024
"""A client is asked what it has of a larger document behind the answer that it waits for."""

RECENT = 64
"""So many of the last updates are known again."""
RECENT_BYTES = 1024
"""A longer one is known by its SHA-256."""


def _known_by(update: bytes) -> bytes:
    return update if len(update) <= RECENT_BYTES else hashlib.sha256(update).digest()


class Room:
    """One open document. Used from one event loop."""

    def __init__(self, conversation: ConversationId, rooms: Rooms) -> None:
        self.id = conversation
        self._rooms = rooms
        self._counters = rooms.counters
        self._members: dict[Member, None] = {}
        self._presence = AwarenessStates()
        self._untold: set[int] = set()
        self._document: EncodedDocument | None = None
        self._asked_s = 0.0
        self._size = rooms.store.engine.size(conversation)
        self._bytes = self._size.snapshot + self._size.updates
        self._uncommitted = 0
        self._recent: dict[bytes, None] = {}
        self.last_seq = 0

    @property
    def members(self) -> Iterable[Member]:
        """Who is here."""
        return self._members.keys()

    @property
    def is_idle(self) -> bool:
        """Whether nobody would notice if this room were gone."""
        return not self._members and self.is_settled

    @property
    def is_settled(self) -> bool:
        """Whether nothing is on its way to the disk."""
        return not self._uncommitted

    @property
    def document(self) -> EncodedDocument:
        """
        The document as bytes, read from the log where it is not in memory.

        Raises:
            StoreError: It can't be read.
        """
        self._asked_s = self._rooms.clock()
        if self._document is None:
            rows = self._rooms.store.read(self.id)
            self._document = EncodedDocument(update for _, update in rows)
        return self._document

    # Members

    def enter(self, member: Member) -> None:
        """Let a member in."""
        self._members[member] = None
        self._presence.join(member)

    def welcome(self, member: Member) -> None:
        """Ask a member for what it has, and tell it who is here."""
        if self._bytes <= SMALL_BYTES:
            member.is_asked = True
            self.ask(member)
        if self._presence and not member.is_peer:
            self.present(member)

    def leave(self, member: Member) -> None:
        """Forget a member and whom it announced."""
        self._members.pop(member, None)
        member.left()
        member.socket.forget(member)
        gone = self._presence.remove(member)
        if gone is not None:
            self._tell_presence(gone)

    def expel(self, code: int, reason: str) -> None:
        """Have everybody leave."""
        for member in tuple(self._members):
            member.expel(code, reason)

    # What a member asks

    def answer(self, member: Member, state_vector: bytes) -> None:
        """
        Send what a member lacks, and ask it for what it has.

        Raises:
            MalformedUpdate: ``state_vector`` is none.
            StoreError: The document can't be read.
        """
        if member.socket.is_lagging:
            # Asking costs nothing, and the answer much: once the peer has read on.
            member.unanswered = state_vector
            member.socket.owe(member)
            return
        document = self.document
        member.send(member.diff(document.encode(state_vector)))
        if member.is_asked:
            # By the greeting; who begins once more is asked once more.
            member.is_asked = False
        elif member.socket.is_congested:
            # A long answer: what it lacks it gets before we look for what it may have.
            member.is_unasked = True
            member.socket.owe(member)
        else:
            asyncio.get_running_loop().call_soon(self.ask, member)

    def ask(self, member: Member) -> None:
        """Ask a member for what it has and we have not."""
        if member in self._members:
            try:
                member.send(Outgoing(member.step1(self.document.state_vector)))
                member.is_behind = False
            except StoreError as error:
                self.fail(member, error)

    def fail(self, member: Member, error: StoreError) -> None:
        """Have a member come back later: the store does not answer."""
        self._rooms.log_failure(
            "the store can't be read", self.id, error, connection=member.socket.connection.id
        )
        member.expel(CloseCode.TRY_AGAIN_LATER, "the server can't read or store now: come back")

    def refuse(self, member: Member, reason: str) -> None:
        """Write down that a frame was no good."""
        self._write_refused(member, Refusal(Status.INVALID_UPDATE, reason))

    def _write_refused(self, member: Member, refusal: Refusal, count: int = 1) -> None:
        for _ in range(count):
            self._counters.refuse(refusal.status)
        member.socket.connection.refused(self.id, member.grant.subject, refusal, count)

    # Updates

    def submit(self, member: Member, update: bytes, *, is_diff: bool) -> None:
        """
        Take an update on its way to the disk.

        Raises:
            StoreError: The document can't be read.
        """
        counters = self._counters
        counters.received += 1
        counters.received_bytes += len(update)
        slot = member.expect()
        try:
            check_update(update)
            member.weigh(slot, update, is_diff=is_diff)
        except MalformedUpdate as error:
            self.refuse(member, str(error))
            member.settle(slot, Refusal(Status.INVALID_UPDATE, str(error)))
            return
        if update == EMPTY_UPDATE:
            member.settle(slot)
            return
        is_asked_about = is_diff or member.is_peer or not member.can_write
        if _known_by(update) in self._recent or (is_asked_about and self.document.has(update)):
            # All of it is on disk already.
            member.echo(update)
            member.settle(slot)
            return
        refusal = self._refusal(member, update)
        if refusal is not None:
            self._write_refused(member, refusal)
            member.settle(slot, refusal)
            return
        self._uncommitted += 1
        member.socket.submitted(len(update))
        self._rooms.commits.submit(self, update, slot)

    def _refusal(self, member: Member, update: bytes) -> Refusal | None:
        if not member.can_write:
            return Refusal(
                Status.PERMISSION_DENIED, f"you may only read this conversation ({Right.WRITE} is missing)"
            )
        if self._bytes + len(update) > self._rooms.limits.document_bytes:
            return Refusal(
                Status.PAYLOAD_TOO_LARGE, "the conversation would be larger than this server allows"
            )
        return None

    def committed(self, submitted: Sequence[tuple[bytes, Slot]], result: Result) -> None:
        """Relay and acknowledge what is on disk, or say that it is not."""
        self._uncommitted -= len(submitted)
        for update, slot in submitted:
            slot.member.socket.settled(len(update))
        if not isinstance(result, Committed):
            self._not_committed(submitted, result)
            return
        seq, update = result
        self.last_seq = seq
        self._counters.committed += len(submitted)
        self._counters.commits += 1
        senders = {slot.member: None for _, slot in submitted}
        self._relay(update, submitted[0][1].member if len(senders) == 1 else None)
        for sent, slot in submitted:
            self._remember(sent)
            slot.is_settled = True
        for member in senders:
            member.answer_settled()
        self._rooms.follower.note(self.id, seq, update)

    def _remember(self, update: bytes) -> None:
        """Know an update again that is sent twice, as one may be when a connection breaks."""
        self._recent[_known_by(update)] = None
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]

    def _not_committed(self, submitted: Sequence[tuple[bytes, Slot]], error: StoreError) -> None:
        is_deleted = isinstance(error, ConversationDeleted)
        if not is_deleted:
            self._rooms.log_failure("updates are not stored", self.id, error, updates=len(submitted))
        refusal = Refusal(
            Status.EVICTED if is_deleted else Status.TRY_AGAIN,
            "the conversation was deleted" if is_deleted else "the server can't store updates now: come back",
        )
        for member, count in Counter(slot.member for _, slot in submitted).items():
            self._write_refused(member, refusal, count)
        for _, slot in submitted:
            slot.member.settle(slot, refusal)
        code = CloseCode.DELETED if is_deleted else CloseCode.TRY_AGAIN_LATER
        for member in {slot.member for _, slot in submitted}:
            member.expel(code, refusal.reason)

    def written(self, update: bytes, seq: int) -> None:
        """Relay what was written in this process; it is on disk."""
        self.last_seq = max(self.last_seq, seq)
        self._relay(update, None)

    def _relay(self, update: bytes, sender: Member | None) -> None:
        self._bytes += len(update)
        if self._document is not None:
            self._document.add(update)
        messages: dict[bytes, Outgoing] = {}
        relayed = 0
        for member in self._members:
            if member is sender and not member.wants_echo:
                continue
            # One envelope, one encoding for all.
            message = messages.get(member.envelope)
            if message is None:
                message = messages[member.envelope] = Outgoing(member.relayed(update))
            relayed += member.socket.relay(member, update, message)
        self._counters.relayed += relayed

    # Presence

    def announce(self, member: Member, payload: bytes) -> None:
        """
        Take in a member's presence; everybody is told soon.

        Raises:
            RemoteProtocolError: It can't be one, or shows too much.
        """
        if member.is_peer:
            # It would be sent round in circles: presence is each daemon's own.
            return
        changed = self._presence.apply(payload, self._rooms.clock(), origin=member)
        if not changed:
            # Its sender is told at once: stock clients count on it to know that the socket lives.
            member.send(Outgoing(member.presence(payload)))
            return
        if not self._untold:
            asyncio.get_running_loop().call_later(self._rooms.limits.presence_s, self._tell_untold)
        self._untold |= changed

    def present(self, member: Member) -> None:
        """Tell a member who is here."""
        member.send(Outgoing(member.presence(self._presence.encode())))

    def _tell_untold(self) -> None:
        untold, self._untold = self._untold, set()
        self._tell_presence(self._presence.encode(untold))

    def _tell_presence(self, payload: bytes) -> None:
        messages: dict[bytes, Outgoing] = {}
        for member in self._members:
            if member.is_peer:
                continue
            message = messages.get(member.presence_envelope)
            if message is None:
                message = messages[member.presence_envelope] = Outgoing(
                    encode_var_bytes(payload, member.presence_envelope)
                )
            if member.socket.is_lagging:
                member.is_unaware = True
                member.socket.owe(member)
            else:
                member.send(message)

    def sweep(self, now_s: float) -> None:
        """Drop who has not been heard of for 30 s, and bytes that nobody asked for."""
        gone = self._presence.expire(now_s)
        if gone is not None:
            self._tell_presence(gone)
        if now_s - self._asked_s > self._rooms.limits.idle_s:
            self._document = None


class Rooms:
    """The open rooms of a store."""

    def __init__(
        self,
        store: Store,
        commits: GroupCommit[Slot],
        follower: Follower,
        *,
        limits: Limits,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self.store = store
        self.commits = commits
        self.follower = follower
        self.limits = limits
        self.counters = counters
        self.clock = clock
        self._open: dict[str, Room] = {}
        self._failures = Quota()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._open.values()))

    def get(self, conversation_id: str) -> Room | None:
        """Return an open room."""
        return self._open.get(conversation_id)

    def open(self, conversation_id: str) -> Room:
        """
        Return a document's room.

        Raises:
            InvalidMessage: This can't be a conversation's id.
            ConversationDeleted: It was deleted.
            StoreError: The store can't be read.
        """
        room = self._open.get(conversation_id)
        if room is None:
            self.store.check_joinable(conversation_id)
            room = self._open[conversation_id] = Room(ConversationId(conversation_id), self)
        return room

    def log_failure(self, message: str, conversation: str, error: StoreError, **fields: object) -> None:
        """Write down that the store failed; not for each conversation, for it fails them all alike."""
        omitted = self._failures.take(self.clock())
        if omitted is not None:
            extra = event(
                "store_failed",
                conversation=conversation,
                reason=str(error),
                omitted=omitted or None,
                **fields,
            )
            logger.error(message, extra=extra)

    def on_change(self, change: Change) -> None:
        """Relay what was written in this process."""
        if not self.follower.is_applying(change):
            room = self._open.get(change.conversation)
            if room is not None:
                room.written(change.update, change.seq)

    def on_deleted(self, conversation_id: str) -> None:
        """Tell everybody that a conversation is gone."""
        room = self._open.pop(conversation_id, None)
        self.follower.forget(conversation_id)
        if room is not None:
            room.expel(CloseCode.DELETED, "the conversation was deleted")

    def sweep(self, now_s: float) -> None:
        """Expire presence, and close rooms that nobody is in."""
        for conversation_id, room in tuple(self._open.items()):
            room.sweep(now_s)
            if room.is_idle:
                del self._open[conversation_id]
