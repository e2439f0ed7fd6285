"""
The prompt at a terminal: several lines, history over sessions, completion of what begins with a slash.

A module for itself, since ``prompt_toolkit`` takes a third of a second.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from syncd.cli.approvals import Interrupted
from syncd.cli.chat.slash import completions
from syncd.cli.history import open_history
from syncd.cli.prompting import above_the_prompt, ask_approval

if TYPE_CHECKING:
    from syncd.cli.chat.session import Session


class Terminal:
    """A person at a terminal; see ``Reader``."""

    def __init__(self, session: Session, *, keeps_history: bool) -> None:
        file = open_history() if keeps_history else None
        history: History = FileHistory(str(file)) if file is not None else InMemoryHistory()
        self.is_reading = False
        self.ask = ask_approval
        self._prompt: PromptSession[str] = PromptSession(
            history=history,
            multiline=True,
            key_bindings=_keys(),
            completer=_Slashes(session),
            complete_while_typing=False,
            prompt_continuation=lambda width, _line, _wrapped: "." * (width - 1) + " ",
        )

    @asynccontextmanager
    async def interrupting(self, interrupt: Callable[[], None]) -> AsyncIterator[None]:
        """Have SIGINT call ``interrupt``, or end the prompt as Ctrl-C does."""

        async def listen() -> None:
            with anyio.open_signal_receiver(signal.SIGINT) as signals:
                async for _ in signals:
                    if self.is_reading and self._prompt.app.is_running:
                        self._prompt.app.exit(exception=KeyboardInterrupt())
                    else:
                        interrupt()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            yield
            tasks.cancel_scope.cancel()

    async def read(self, prompt: str, text: str = "") -> str:
        """Return what is typed next."""
        self.is_reading = True
        try:
            with above_the_prompt():
                return await self._prompt.prompt_async(prompt, default=text, handle_sigint=False)
        except KeyboardInterrupt:
            raise Interrupted from None
        finally:
            self.is_reading = False


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _submit(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _another_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return keys


class _Slashes(Completer):
    """Completes commands, and what goes behind them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may stand where the cursor is."""
        del complete_event
        typed = document.text_before_cursor
        if not typed.startswith("/") or "\n" in typed:
            return
        word = typed.rpartition(" ")[2] if " " in typed else typed
        for text, told in completions(self._session, typed):
            yield Completion(text, start_position=-len(word), display_meta=told)
