"""Helpers over several replicas of one conversation, each in a store of its own."""

from __future__ import annotations

import sqlite3

from crdt_conv import Conversation, Message, Store
from crdt_conv.store import SqliteEngine


def sqlite_of(store: Store) -> sqlite3.Connection:
    """Return the connection beneath a store, to break things."""
    assert isinstance(store.engine, SqliteEngine)
    return store.engine.connection._connection


def replica(conversation_id: str = "c", name: str = "ann") -> Conversation:
    """Return an empty replica in a store of its own, in memory."""
    return Store(":memory:", name=name).join(conversation_id)


def exchange(*replicas: Conversation) -> None:
    """Bring replicas together by their state vectors, as a session does."""
    for _ in range(2):
        for one in replicas:
            for other in replicas:
                if one is not other:
                    other.receive(one.encode(other.state_vector))


def copy_of(conversation: Conversation, name: str = "bob") -> Conversation:
    """Return a new replica that has everything."""
    copy = replica(conversation.id, name)
    copy.receive(conversation.encode())
    return copy


def texts(messages: list[Message] | tuple[Message, ...]) -> list[str]:
    """Return what the messages say."""
    return [message.text for message in messages]


def message(
    name: str,
    *parents: str,
    role: str = "user",
    branch: str = "main",
    created: int = 0,
    status: str = "complete",
    hidden: int = 0,
) -> Message:
    """Return a message as a value, named by its id."""
    return Message(
        id=name,  # type: ignore[arg-type]
        role=role,
        parents=parents,  # type: ignore[arg-type]
        branch=branch,
        created=created,
        status=status,
        hidden_count=hidden,
    )
