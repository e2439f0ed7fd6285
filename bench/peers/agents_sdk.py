"""The OpenAI Agents SDK's sessions in SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents import SQLiteSession
from agents.extensions.memory import AdvancedSQLiteSession

from bench.conversations import Synthetic
from bench.peers.port import as_text, files_of


def _items(message: Synthetic) -> list[Any]:
    # The shapes in which the SDK's Runner stores a person's input and a model's output.
    if message.role == "user":
        return [{"role": "user", "content": message.text}]
    text = {"type": "output_text", "text": message.text, "annotations": []}
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    if message.hidden is None:
        return [answer]
    return [
        {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": as_text(message.hidden)},
        answer,
    ]


def _text(item: Any) -> str:
    content = item["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


class AgentsPeer:
    """
    One ``add_items`` a message, in an event loop that stays open; the SDK runs each in a worker thread.

    The session sets WAL and leaves ``synchronous`` at SQLite's default, FULL: one commit and one fsync of the
    log a message. It keeps a flat list: no message knows its parent.
    """

    name = "agents"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runner = asyncio.Runner()
        self.session = self._open()

    def _open(self) -> SQLiteSession:
        return SQLiteSession("bench", self.path)

    def append(self, message: Synthetic) -> None:
        """Add one message, with the reasoning before it if it has any."""
        self.runner.run(self.session.add_items(_items(message)))

    def reopen_and_read_tail(self) -> str:
        """Read all items of the session."""
        # Its own loop: the peer may be closed by now.
        session = self._open()
        items = asyncio.run(session.get_items())
        session.close()
        return _text(items[-1])

    def fork(self, replies: Sequence[Synthetic]) -> None:
        """Refuse."""
        raise NotImplementedError(
            "SQLiteSession is one flat list of items; it has no parents and no branches"
        )

    def branch_tails(self) -> list[str]:
        """Return nothing."""
        return []

    def close(self) -> None:
        """Close the session and the loop."""
        self.session.close()
        self.runner.close()

    def files(self) -> list[Path]:
        """Return the database's files."""
        return files_of(self.path)


class AdvancedAgentsPeer(AgentsPeer):
    """
    The SDK's session with branches, an extension: a row of structure beside each item, in the same commit.

    A branch starts before a turn of the user and copies the structure of all that precedes it, not the items.
    """

    name = "agents-advanced"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.turns = 0
        self.branches: list[str] = []

    def _open(self) -> AdvancedSQLiteSession:
        return AdvancedSQLiteSession(session_id="bench", db_path=self.path, create_tables=True)

    def append(self, message: Synthetic) -> None:
        """Add one message, and count the user's turns."""
        super().append(message)
        self.turns += message.role == "user"

    def fork(self, replies: Sequence[Synthetic]) -> None:
        """Add the first reply to the main branch, and branch before it for each other one."""
        session = self.session
        assert isinstance(session, AdvancedSQLiteSession)

        async def write() -> None:
            await session.add_items(_items(replies[0]))
            self.branches = ["main"]
            for reply in replies[1:]:
                await session.switch_to_branch("main")
                self.branches.append(await session.create_branch_from_turn(self.turns + 1))
                await session.add_items(_items(reply))

        self.runner.run(write())

    def branch_tails(self) -> list[str]:
        """Read all items of each branch."""
        session = self._open()

        async def read() -> list[str]:
            return [_text((await session.get_items(branch_id=branch))[-1]) for branch in self.branches]

        tails = asyncio.run(read())
        session.close()
        return tails
