"""Helpers over several replicas of one conversation, each in a store of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from crdt_conv import Conversation, Message, MessageId, Store
from crdt_conv.document.document import Document
from crdt_conv.document.index import Index
from crdt_conv.graph.graph import Graph
from crdt_conv.messages.message import parse_message
from crdt_conv.messages.node import Node
from crdt_conv.store import SqliteEngine


def sqlite_of(store: Store) -> sqlite3.Connection:
    """Return the connection beneath a store, to break things."""
    assert isinstance(store.engine, SqliteEngine)
    return store.engine.connection._connection


def replica(conversation_id: str = "c", name: str = "ann") -> Conversation:
    """Return an empty replica in a store of its own, in memory."""
    return Store(":memory:", name=name).join(conversation_id)


def restarted(conversation: Conversation) -> Conversation:
    """Return the conversation as a restart would read it from its log alone."""
    again = Conversation(conversation.id, conversation._log, conversation.author)
    # With the document in memory no stored index is asked.
    assert again.document is not None
    return again


def reopened(conversation: Conversation) -> Conversation:
    """Return the conversation as a restart would read it from its stored index."""
    conversation.save_index()
    again = Conversation(conversation.id, conversation._log, conversation.author)
    assert again.index is not None
    assert (again._document is None) or conversation.document.is_pending
    return again


class Reader:
    """A document and its index, without a log."""

    def __init__(self, updates: Iterable[bytes] = ()) -> None:
        self.document = Document(updates)
        self.index = Index(self._ask)
        self.index.read(self.document)

    def _ask(self, message_ids: Sequence[MessageId]) -> list[Message]:
        return [parse_message(key, self.document.read("messages", key)) for key in message_ids]

    @property
    def graph(self) -> Graph[Node]:
        return self.index.graph

    @property
    def quarantined(self) -> dict[str, str]:
        return self.index.quarantined

    def apply(self, update: bytes) -> None:
        changes = self.document.apply(update)
        assert changes is not None
        self.index.settle(changes, self.document)


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
