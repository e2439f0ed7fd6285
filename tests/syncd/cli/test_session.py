"""A session at the prompt, with a person who is played."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from crdt_conv import Store, Target
from syncd.cli.chat.session import Session
from syncd.cli.workspace import Workspace
from syncd.tools import Toolset

pytestmark = pytest.mark.anyio


class Person:
    """Asks once, presses Ctrl-C so many times while the answer is waited for, and then has no more to say."""

    ask = None
    is_reading = False

    def __init__(self, session: Session, presses: int) -> None:
        self._session = session
        self._presses = presses
        self.lines = ["Talk."]
        self.prompted = 0

    async def read(self, prompt: str, text: str = "") -> str:
        """Return the next line."""
        del prompt, text
        self.prompted += 1
        if not self.lines:
            raise EOFError
        return self.lines.pop()

    @asynccontextmanager
    async def interrupting(self, interrupt: Callable[[], None]) -> AsyncIterator[None]:
        """Press as soon as there is a run."""

        async def press() -> None:
            while not self._session.conversation.runs.all():
                await anyio.lowlevel.checkpoint()
            for _ in range(self._presses):
                interrupt()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(press)
            yield


async def _prompted(presses: int, tmp_path: Path) -> int:
    """Return how often a person is asked for a line, whom nobody answers."""

    async def sync(*_: object, **__: object) -> None:
        await anyio.lowlevel.checkpoint()

    with Store(":memory:") as store:
        workspace = Workspace(store, tmp_path / "chats.db", cast("Any", SimpleNamespace(sync=sync)))
        wanted = Target("openai-chat", "m")
        session = Session(
            workspace, store.create(), "main", wanted, context=0, toolset=Toolset(), db=tmp_path / "chats.db"
        )
        person = Person(session, presses)
        with anyio.fail_after(10):
            await session.run(person)
        [run] = session.conversation.runs.all()
        assert run.cancel
        return person.prompted


async def test_ctrl_c_during_an_answer_cancels_it(tmp_path: Path) -> None:
    """The person is asked for the next line."""
    assert await _prompted(1, tmp_path) == 2


async def test_ctrl_c_twice_during_an_answer_leaves(tmp_path: Path) -> None:
    """The person is asked for nothing more."""
    assert await _prompted(2, tmp_path) == 1
