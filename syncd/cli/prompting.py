"""
Asking at a terminal. Import it where somebody is asked: ``prompt_toolkit`` takes a third of a second.

Ctrl-C at a prompt is a key here, and becomes ``Interrupted``; SIGINT is the program's to handle.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout
from rich.markup import escape

from adapters.answers import watching
from crdt_conv import Conversation
from syncd.cli.approvals import Interrupted
from syncd.cli.common import errors
from syncd.cli.following import Waiting, waiting

VERDICTS = {"y": "yes", "yes": "yes", "n": "no", "no": "no", "a": "always", "always": "always"}


async def ask_approval(conversation: Conversation, call: Waiting, *, may_be_always: bool = True) -> str:
    """
    Ask whether a call may be made: ``yes``, ``no``, ``always``, or nothing where somebody else has answered.

    Raises:
        Interrupted: Ctrl-C.
    """
    choices = "y/n/always" if may_be_always else "y/n"
    session: PromptSession[str] = PromptSession()
    # All of the arguments: who approves is to know what.
    errors.print(f"[yellow]{escape(call.name)}[/] {escape(call.arguments)}", soft_wrap=True)
    async with watching(conversation) as changes, anyio.create_task_group() as tasks:

        async def leave_when_answered() -> None:
            while call in waiting(conversation, conversation.runs[call.run]):
                await changes.wait()
            if session.app.is_running:
                session.app.exit(result="")

        tasks.start_soon(leave_when_answered)
        said: str | None = None
        while said is None:
            with above_the_prompt():
                answer = await _prompt(session, f"  may it be called? [{choices}] ")
            is_waiting = call in waiting(conversation, conversation.runs[call.run])
            said = VERDICTS.get(answer.strip().lower()) if is_waiting else ""
            said = None if said == "always" and not may_be_always else said
        tasks.cancel_scope.cancel()
    return said or ""


async def _prompt(session: PromptSession[str], text: str) -> str:
    try:
        return await session.prompt_async(text, handle_sigint=False)
    except KeyboardInterrupt:
        raise Interrupted from None
    except EOFError:
        # Ctrl-D: who says nothing has not said yes.
        return "no"


@contextmanager
def above_the_prompt() -> Iterator[None]:
    """Put what is printed meanwhile above the prompt, with its colours."""
    sys.stdout.flush()
    with patch_stdout(raw=True):
        yield
