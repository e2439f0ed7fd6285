"""Where a session gets its lines from: the port, and standard input that is no terminal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

import anyio.to_thread

from crdt_conv import Conversation
from syncd.cli.following import Waiting


class Reader(Protocol):
    """Reads what a person types."""

    @property
    def ask(self) -> Callable[[Conversation, Waiting], Awaitable[str]] | None:
        """Asks whether a call may be made; nothing where nobody can be asked."""

    @property
    def is_reading(self) -> bool:
        """Whether a person is at the prompt now, so that news can be shown."""

    def interrupting(self, interrupt: Callable[[], None]) -> AbstractAsyncContextManager[object]:
        """Have Ctrl-C, while nothing is read, call ``interrupt``."""

    async def read(self, prompt: str, text: str = "") -> str:
        """
        Return what is typed next; ``text`` stands there already.

        Raises:
            EOFError: There is no more.
            Interrupted: Ctrl-C.
        """


class PipedLines:
    """A message in each line of standard input."""

    ask = None
    is_reading = False

    def interrupting(self, interrupt: Callable[[], None]) -> AbstractAsyncContextManager[object]:
        """Leave Ctrl-C as it is: it ends the program."""
        del interrupt
        return nullcontext()

    async def read(self, prompt: str, text: str = "") -> str:
        """Return the next line."""
        del text
        return await anyio.to_thread.run_sync(input, prompt, abandon_on_cancel=True)
