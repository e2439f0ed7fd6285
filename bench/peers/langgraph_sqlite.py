"""LangGraph with its SQLite checkpointer."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph

from bench.conversations import Synthetic
from bench.peers.port import as_text, files_of

CONFIG: RunnableConfig = {"configurable": {"thread_id": "bench"}}


class State(TypedDict):
    """A messages channel, as LangGraph's own ``MessagesState`` has it."""

    messages: Annotated[list[AnyMessage], add_messages]


def fold(state: list[AnyMessage], writes: Sequence[list[AnyMessage]]) -> list[AnyMessage]:
    """Apply many writes at once, as a delta channel wants its reducer."""
    added: list[Any] = [message for write in writes for message in write]
    return add_messages(state, added)  # type: ignore[return-value, arg-type]


class DeltaState(TypedDict):
    """The same list, stored as writes with a whole copy at every hundredth."""

    messages: Annotated[list[AnyMessage], DeltaChannel(fold)]


def _message(message: Synthetic) -> AnyMessage:
    if message.role == "user":
        return HumanMessage(message.text)
    hidden = {} if message.hidden is None else {"encrypted_content": as_text(message.hidden)}
    return AIMessage(message.text, additional_kwargs=hidden)


class LangGraphPeer:
    """
    A graph of one node, and one ``update_state`` a message, which is one checkpoint.

    An ``invoke`` writes three checkpoints for the two messages of an exchange: half as many bytes again, and
    the same time. Each checkpoint holds the whole list, so the file grows with the square of its length.

    The saver sets WAL and leaves ``synchronous`` at SQLite's default, FULL. An ``update_state`` commits
    twice, first the checkpoint and then the write it came from: two fsyncs a message.
    """

    name = "langgraph"
    state: type[Any] = State

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = self._connect()
        self.graph = self._graph(self.connection)
        self.branches: list[RunnableConfig] = []

    def _connect(self) -> sqlite3.Connection:
        # What SqliteSaver.from_conn_string does, which is a context manager.
        return sqlite3.connect(self.path, check_same_thread=False)

    def _graph(self, connection: sqlite3.Connection) -> CompiledStateGraph[Any]:
        builder: StateGraph[Any] = StateGraph(self.state)
        builder.add_node("model", lambda _: {"messages": []})
        builder.add_edge(START, "model")
        builder.add_edge("model", END)
        return builder.compile(checkpointer=SqliteSaver(connection))

    def append(self, message: Synthetic) -> None:
        """Update the thread's state with one message."""
        self.graph.update_state(CONFIG, {"messages": [_message(message)]}, as_node="model")

    def _tails(self, configs: Sequence[RunnableConfig]) -> list[str]:
        with closing(self._connect()) as connection:
            graph = self._graph(connection)
            return [str(graph.get_state(config).values["messages"][-1].content) for config in configs]

    def reopen_and_read_tail(self) -> str:
        """Read the thread's last state."""
        return self._tails([CONFIG])[0]

    def fork(self, replies: Sequence[Synthetic]) -> None:
        """Update one and the same checkpoint with each of the replies, as its time travel does."""
        parent = self.graph.get_state(CONFIG).config
        self.branches = [
            self.graph.update_state(parent, {"messages": [_message(reply)]}, as_node="model")
            for reply in replies
        ]

    def branch_tails(self) -> list[str]:
        """Read the state of each checkpoint: the branches have no names."""
        return self._tails(self.branches)

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    def files(self) -> list[Path]:
        """Return the database's files."""
        return files_of(self.path)


class DeltaLangGraphPeer(LangGraphPeer):
    """
    The same with a ``DeltaChannel``, which its documentation calls beta and does not make the default.

    Only every hundredth checkpoint then holds the list; the others are replayed from their writes. A fork's
    first checkpoint holds it too.
    """

    name = "langgraph-delta"
    state = DeltaState
