"""
What must hold, checked at every frame that leaves the daemon and after every fault.

- Whatever leaves the daemon (a relay, an answer, an echo) would be there if the power went in this moment.
- So would what an acknowledgement covers, each being counted for the frame that it answers.
- A frame with an update is answered, in its turn; one that is refused, with a reason.
- What was acknowledged or shown is in the files after every fault, every compaction and in the end,
  unless its conversation was deleted; then that holds.
- What comes in while nobody may write is not stored.
- What was taken in before a stop in good order is in the files after it.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from syncd.protocol import CloseCode, RemoteProtocolError
from syncd.protocol.frames import Denied, SyncStep2, Update, decode_frames
from syncd.protocol.hocuspocus.codec import (
    Addressed,
    Authenticated,
    Body,
    Close,
    PermissionDenied,
    Stateless,
    Sync,
    SyncStatus,
    Token,
    decode,
)
from tests.faults.simulation.atoms import Atoms, atoms
from tests.faults.simulation.network import Socket
from tests.faults.simulation.remains import Remains
from tests.faults.simulation.replicas import Replica

GRACE_S = 1.0
"""So long after a right was taken away something may still be let by: it is asked for again, not watched."""


class BrokenPromise(AssertionError):
    """Something that must hold does not."""


@dataclass
class _Known:
    """What must be there of one conversation."""

    stored: Atoms = field(default_factory=Atoms)
    messages: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Asked:
    """A frame with an update that the daemon has; ``is_excused`` where it need not store that."""

    held: Atoms
    is_excused: bool = False


@dataclass
class _Room:
    """One socket's place in one conversation, as the wire shows it."""

    unanswered: deque[_Asked] = field(default_factory=deque)
    is_known: bool = False
    is_in: bool = False
    reason: str = ""


class Oracle:
    """Sees every frame at the daemon's door."""

    def __init__(
        self, read_durable: Callable[[], tuple[int, Callable[[], Remains]]], clock: Callable[[], float]
    ) -> None:
        """
        Know nothing yet.

        Args:
            read_durable: Returns a number that rises with what is durable, and the way to read it.
            clock: Seconds.
        """
        self._clock = clock
        self._restricted_s: float | None = None
        self._came_in: defaultdict[str, Atoms] = defaultdict(Atoms)
        self._forbidden: defaultdict[str, Atoms] = defaultdict(Atoms)
        self.acknowledgements = self.shown = self.refusals = 0
        self._read_durable = read_durable
        self._durable = (-1, Remains())
        self._known: defaultdict[str, _Known] = defaultdict(_Known)
        self._rooms: defaultdict[Socket, defaultdict[str, _Room]] = defaultdict(lambda: defaultdict(_Room))
        self._closings: dict[Socket, int] = {}
        self._torn: set[Socket] = set()
        self.broken: BrokenPromise | None = None
        """The first promise that was broken."""
        self.deleted: set[str] = set()
        """Conversations whose deletion was acknowledged."""

    def durable(self) -> Remains:
        """Return what would be there if the power went now."""
        version, read = self._read_durable()
        if version != self._durable[0]:
            self._durable = version, read()
        return self._durable[1]

    # At the daemon's door

    def went_in(self, socket: Socket, frame: bytes, *, is_torn: bool) -> None:
        """Expect answers."""
        try:
            bodies = self._bodies(socket, frame, is_server=False)
        except RemoteProtocolError:
            assert is_torn
            self._torn.add(socket)
            return
        for conversation, body in bodies:
            room = self._rooms[socket][conversation]
            room.is_known |= isinstance(body, Token) or socket.path != "/collab"
            # Who has not even said who it is is not heard.
            if isinstance(body, SyncStep2 | Update) and room.is_known:
                held = atoms(body.update)
                room.unanswered.append(_Asked(held))
                if self._restricted_s is not None and self._clock() > self._restricted_s + GRACE_S:
                    self._forbidden[conversation] |= held - self._came_in[conversation]
                else:
                    self._came_in[conversation] |= held

    def came_out(self, socket: Socket, frame: bytes) -> None:
        """Hold what the daemon says against its disk."""
        for conversation, body in self._bodies(socket, frame, is_server=True):
            room = self._rooms[socket][conversation]
            match body:
                case SyncStep2(update) | Update(update):
                    self._show(conversation, atoms(update))
                    if socket.path != "/collab":
                        _drop_covered(room.unanswered, atoms(update))
                case SyncStatus(is_stored):
                    self._answer(conversation, room, is_stored=is_stored)
                case Authenticated():
                    room.is_in = True
                case Stateless(text):
                    room.reason = json.loads(text).get("reason", "")
                case Denied(reason):
                    self.refusals += 1
                    _excuse(room)
                    room.unanswered.clear()
                    self._expect(bool(reason), "refused without a reason")
                case PermissionDenied(reason) | Close(reason):
                    self._expect(bool(reason), "let go without a reason")
                    _excuse(room)
                    del self._rooms[socket][conversation]

    def was_closed(self, socket: Socket, code: int, reason: str) -> None:
        """All its rooms are answered by that, if it says why."""
        self._expect(bool(reason), f"closed with {code} and no reason")
        self._closings[socket] = code
        self._rooms.pop(socket, None)
        self._torn.discard(socket)

    def _expect(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001 - an assertion
        if not holds:
            # Kept: where it is raised the daemon may be in between.
            self.broken = self.broken or BrokenPromise(otherwise)
            raise self.broken

    @staticmethod
    def _bodies(socket: Socket, frame: bytes, *, is_server: bool) -> list[tuple[str, object]]:
        if socket.path != "/collab":
            conversation = socket.path.removeprefix("/sync/").partition("?")[0]
            return [(conversation, message) for message in decode_frames(frame)]
        told = decode(frame, is_server=is_server)
        if not isinstance(told, Addressed):
            return []
        body: Body | object = told.body.message if isinstance(told.body, Sync) else told.body
        return [(told.address, body)]

    def _answer(self, conversation: str, room: _Room, *, is_stored: bool) -> None:
        self._expect(bool(room.unanswered), f"{conversation}: an answer that nothing was asked for")
        asked = room.unanswered.popleft()
        held, asked.is_excused = asked.held, True
        if is_stored:
            self.acknowledgements += 1
            self._must_hold(conversation, held, "acknowledged")
        else:
            self.refusals += 1
            self._expect(bool(room.reason), f"{conversation}: refused without a reason")
            room.reason = ""

    def _show(self, conversation: str, held: Atoms) -> None:
        self.shown += bool(held)
        self._must_hold(conversation, held, "shown")

    def _must_hold(self, conversation: str, held: Atoms, how: str) -> None:
        known = self._known[conversation]
        if not held <= known.stored:
            durable = self.durable()
            if conversation in durable.deleted:
                return
            missing = held - durable.atoms(conversation)
            self._expect(not missing, f"{conversation}: {missing} was {how} and is not on disk")
            known.stored |= held

    # What else was promised

    def acknowledged(self, replica: Replica, upto: int) -> None:
        """A client takes a part of its log for stored."""
        held = Atoms()
        for update in replica.log[:upto]:
            held |= atoms(update)
        self._must_hold(replica.conversation, held, "taken for acknowledged")

    def posted(self, conversation: str, message: str) -> None:
        """A message was acknowledged over HTTP."""
        self.acknowledgements += 1
        durable = self.durable()
        is_there = durable.mentions(conversation, message) or conversation in durable.deleted
        self._expect(is_there, f"{conversation}: the message {message} was acknowledged and is not on disk")
        self._known[conversation].messages.add(message)

    def was_deleted(self, conversation: str) -> None:
        """A deletion was acknowledged."""
        self._expect(conversation in self.durable().deleted, f"{conversation} was deleted, and not on disk")
        self.deleted.add(conversation)

    def gone(self, replica: Replica, reason: str) -> None:
        """A client was told that a conversation is no more."""
        is_deleted = replica.conversation in self.durable().deleted
        self._expect(
            is_deleted, f"{replica.conversation}: a client was told '{reason}', and it is not deleted"
        )

    # Who may write

    def allow(self, *, may_write: bool) -> None:
        """Hear that everybody may write from now on, or nobody."""
        self._forbidden.clear()
        self._restricted_s = None if may_write else self._clock()

    def _check_forbidden(self, there: Remains) -> None:
        for conversation, held in self._forbidden.items():
            stored = there.atoms(conversation)
            taken = Atoms(held.inserted & stored.inserted, held.deleted & stored.deleted)
            self._expect(not taken, f"{conversation}: {taken} is stored, and nobody may write")

    # After a fault

    def excuse(self) -> None:
        """The disk fails, or has failed until now: what was not answered may be refused, to nobody's ears."""
        for rooms in self._rooms.values():
            for room in rooms.values():
                _excuse(room)

    def taken_in(self) -> list[tuple[Socket, str, _Asked]]:
        """Return what the daemon has taken in and not answered yet."""
        return [
            (socket, conversation, asked)
            for socket, rooms in self._rooms.items()
            for conversation, room in rooms.items()
            if room.is_in or socket.path != "/collab"
            for asked in room.unanswered
        ]

    def check_stopped(self, there: Remains, taken: list[tuple[Socket, str, _Asked]]) -> None:
        """Fail if something is not there that was taken in before a stop in good order."""
        for socket, conversation, asked in taken:
            # Otherwise it had been closed for a reason before, and what came then was passed over.
            was_in_use = self._closings.get(socket) == CloseCode.RESTART
            if was_in_use and not asked.is_excused and conversation not in there.deleted:
                missing = asked.held - there.atoms(conversation)
                self._expect(not missing, f"{conversation}: {missing} was taken in, and lost by a stop")

    def check(self, there: Remains) -> None:
        """Hold what is left against all that must be there, and what must not."""
        self._check_forbidden(there)
        for conversation in self.deleted:
            self._expect(conversation in there.deleted, f"{conversation}: its deletion is lost")
        for conversation in there.deleted:
            self._expect(
                conversation not in there.updates, f"{conversation} is deleted, and something of it there"
            )
        for conversation, known in self._known.items():
            if conversation in there.deleted:
                continue
            missing = known.stored - there.atoms(conversation)
            self._expect(not missing, f"{conversation}: {missing} is lost")
            for message in known.messages:
                self._expect(
                    there.mentions(conversation, message), f"{conversation}: message {message} is lost"
                )

    def restart(self) -> None:
        """Forget all sockets: the process is gone."""
        self._rooms.clear()
        self._closings.clear()
        self._torn.clear()
        self._durable = (-1, Remains())

    def owed(self) -> str:
        """Say whom the daemon, which had all the time it wanted, owes an answer, if anybody."""
        for socket, rooms in self._rooms.items():
            for conversation, room in rooms.items():
                owed = [asked.held for asked in room.unanswered if asked.held]
                if owed and not socket.is_over:
                    return f"{conversation}: {owed} was never answered on {socket.path}"
        is_silent = any(not socket.is_over for socket in self._torn)
        return "half a frame was taken without a word" if is_silent else ""


def _excuse(room: _Room) -> None:
    for asked in room.unanswered:
        asked.is_excused = True


def _drop_covered(unanswered: deque[_Asked], held: Atoms) -> None:
    left = [asked for asked in unanswered if not asked.held <= held]
    unanswered.clear()
    unanswered.extend(left)
