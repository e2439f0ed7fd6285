"""
Rooms: one document each, and the sockets that share it.

Rules. An update is checked, committed, applied and only then relayed; the relay
goes to its sender too, and is the acknowledgement. What the executor writes
here takes the same way out. A room lives while somebody is in it or something
is on its way to the disk; after that the document is only in the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from crdt_conv import Change, Conversation, MalformedUpdate, Store, StoreError
from crdt_conv.engine import Row
from syncd.commits import GroupCommit
from syncd.protocol import (
    AwarenessQueried,
    AwarenessReceived,
    AwarenessStates,
    CloseCode,
    DiffRequested,
    RemoteProtocolError,
    ServerSession,
    UpdateReceived,
)

logger = logging.getLogger("syncd")


class Connection(Protocol):
    """What a room needs of a socket. Neither call waits nor raises."""

    def send(self, frame: bytes) -> None:
        """Queue a frame."""

    def close(self, code: int, reason: str) -> None:
        """Close after what is queued."""


class Room:
    """One open document. Used from one event loop."""

    def __init__(self, conversation: Conversation, commits: GroupCommit) -> None:
        self.conversation = conversation
        self._commits = commits
        self._members: dict[Connection, ServerSession] = {}
        self._awareness = AwarenessStates()
        self._uncommitted = 0
        self._unsubscribe = conversation.subscribe(self._relay)

    @property
    def is_idle(self) -> bool:
        """Whether nobody would notice if this room were gone."""
        return not self._members and not self._uncommitted

    def close(self) -> None:
        """Stop listening to the conversation."""
        self._unsubscribe()

    def enter(self, connection: Connection) -> None:
        """Let a socket in, and ask it for what it has."""
        session = ServerSession()
        presence = self._awareness.encode() if self._awareness else None
        # Before it is a member: where the document can't be read, nobody has entered.
        greeting = session.open(self.conversation.state_vector, presence)
        self._members[connection] = session
        for frame in greeting:
            connection.send(frame)

    def leave(self, connection: Connection) -> None:
        """Forget a socket and whom it announced."""
        self._members.pop(connection, None)
        gone = self._awareness.remove(connection)
        if gone is not None:
            self._broadcast(lambda session: session.awareness(gone))

    def receive(self, connection: Connection, data: bytes, now_s: float) -> None:
        """Handle one frame; a frame or update that can't be one closes its sender, and only that."""
        session = self._members.get(connection)
        if session is None:
            return
        try:
            for event in session.receive(data):
                self._handle(connection, session, event, now_s)
        except (RemoteProtocolError, MalformedUpdate) as error:
            self._refuse(connection, session, str(error))

    def _handle(self, connection: Connection, session: ServerSession, event: object, now_s: float) -> None:
        match event:
            case DiffRequested(state_vector):
                connection.send(session.diff(self.conversation.encode(state_vector)))
            case UpdateReceived(update):
                self._submit(connection, session, update)
            case AwarenessReceived(payload):
                self._announce(connection, payload, now_s)
            case AwarenessQueried():
                connection.send(session.awareness(self._awareness.encode()))

    # Updates

    def _submit(self, connection: Connection, session: ServerSession, update: bytes) -> None:
        if not self.conversation.is_news(update):
            # All of it is on disk already.
            connection.send(session.update(update))
            return
        self._uncommitted += 1
        row = Row(self.conversation.id, update)
        self._commits.submit(row, lambda result: self._committed(connection, update, result))

    def _committed(self, connection: Connection, update: bytes, result: int | StoreError) -> None:
        self._uncommitted -= 1
        try:
            if isinstance(result, StoreError):
                raise result
            self.conversation.apply_logged(update, result)
        except StoreError as error:
            logger.error("conversation %s: an update is not taken in: %s", self.conversation.id, error)
            connection.close(CloseCode.TRY_AGAIN_LATER, "the server can't store updates now")
        except MalformedUpdate as error:
            session = self._members.get(connection)
            if session is not None:
                self._refuse(connection, session, str(error))

    def _relay(self, change: Change) -> None:
        # Everybody, its sender too: the echo says that it is on disk.
        self._broadcast(lambda session: session.update(change.update))

    def _refuse(self, connection: Connection, session: ServerSession, reason: str) -> None:
        logger.warning("conversation %s: refused a frame: %s", self.conversation.id, reason)
        connection.send(session.denied(reason))
        connection.close(CloseCode.BAD_FRAME, reason)

    # Presence

    def _announce(self, connection: Connection, payload: bytes, now_s: float) -> None:
        changed = self._awareness.apply(payload, now_s, origin=connection)
        # To its sender too: stock clients count on it to know that the socket lives.
        if changed:
            self._broadcast(lambda session: session.awareness(self._awareness.encode(changed)))
        else:
            connection.send(self._members[connection].awareness(payload))

    def expire(self, now_s: float) -> None:
        """Drop who has not been heard of for 30 s."""
        gone = self._awareness.expire(now_s)
        if gone is not None:
            self._broadcast(lambda session: session.awareness(gone))

    def _broadcast(self, encode: Callable[[ServerSession], bytes]) -> None:
        frame: bytes | None = None
        for connection, session in tuple(self._members.items()):
            # One dialect, one encoding for all.
            frame = frame or encode(session)
            connection.send(frame)


class Rooms:
    """The open rooms of a store."""

    def __init__(self, store: Store, commits: GroupCommit) -> None:
        self._store = store
        self._commits = commits
        self._open: dict[str, Room] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, conversation_id: str, connection: Connection) -> Room:
        """
        Let a socket into a room, opened where it is not.

        Raises:
            InvalidMessage: This can't be a conversation's id.
            StoreError: The document can't be read.
        """
        room = self._open.get(conversation_id)
        if room is None:
            room = self._open[conversation_id] = Room(self._store.join(conversation_id), self._commits)
        room.enter(connection)
        return room

    def sweep(self, now_s: float) -> None:
        """Expire presence, and close rooms that nobody is in."""
        for conversation_id, room in tuple(self._open.items()):
            room.expire(now_s)
            if room.is_idle:
                room.close()
                del self._open[conversation_id]
                self._store.let_go(conversation_id)
