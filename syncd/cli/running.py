"""What ``conv run`` and ``conv chat`` share: which model, the executor, and a run as people see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated

import anyio
import typer
from rich.markup import escape

from adapters import Executor, RunFailed
from adapters.answers import answer, cancel
from crdt_conv import Conversation, Message, Run, Target
from syncd.cli.approvals import Approver, Interrupted
from syncd.cli.common import console, errors
from syncd.cli.following import Called, Event, Parked, Returned, Said, Waiting, follow
from syncd.cli.look import in_a_line
from syncd.cli.toolset import refuse_flags, warning
from syncd.cli.workspace import Workspace
from syncd.models import LOCAL, NAMES, LocalModel, adapter_of
from syncd.tools import Toolset

NOTICE_S = 3.0

AdapterOption = Annotated[
    str, typer.Option("--adapter", "-a", envvar="CONV_ADAPTER", help=f"One of: {', '.join(NAMES)}.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="CONV_MODEL",
        help="A model's name; of llamacpp a GGUF file: SmolLM2, where it is installed.",
    ),
]
EndpointOption = Annotated[
    str | None, typer.Option("--endpoint", envvar="CONV_ENDPOINT", help="Another server, by its URL.")
]
MaxTokensOption = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="When the answer ends at last.")
]


def target(adapter: str, model: str | None, endpoint: str | None, max_tokens: int | None) -> Target:
    """Return what a run is asked of."""
    return Target(adapter, model, endpoint, {} if max_tokens is None else {"max_tokens": max_tokens})


def asked(workspace: Workspace, wanted: Target) -> Target:
    """Return what stands in the run: the file of a local model is nobody else's."""
    is_file = wanted.adapter == LOCAL and not workspace.is_through_daemon
    return replace(wanted, model=None, endpoint=None) if is_file else wanted


@asynccontextmanager
async def executing(
    workspace: Workspace, wanted: Target, context: int, toolset: Toolset
) -> AsyncIterator[Executor | None]:
    """
    Fulfil runs here, unless a daemon does.

    Raises:
        InvalidMessage: There is no such adapter, or it has to be told which model.
        AdapterError: It can't be had here.
    """
    if workspace.is_through_daemon:
        yield None
        return
    adapter = adapter_of(wanted, local=LocalModel(context_tokens=context))
    async with (
        warning(),
        Executor(workspace.store, adapters=[adapter], tools=toolset.servers) as executor,
    ):
        yield executor


def check_tools(workspace: Workspace, names: Sequence[str] | None, *, is_off: bool) -> None:
    """
    Refuse flags for tools where a daemon has them.

    Raises:
        ConfigError: They were given, and it has.
    """
    if workspace.is_through_daemon:
        refuse_flags(names, is_off=is_off)


class Screen:
    """Shows a run as it goes: text on standard output, tools on standard error."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._is_in_line = False

    def show(self, event: Event) -> None:
        """Show what happened."""
        if self._is_quiet:
            return
        match event:
            case Said():
                if event.is_new:
                    self.end_line()
                console.out(event.text, end="", highlight=False)
                self._is_in_line = not event.text.endswith("\n")
            case Called():
                self._note(f"[cyan]▸ {escape(event.name)}[/] [dim]{escape(in_a_line(event.arguments))}[/]")
            case Returned(is_error=True):
                self._note(f"[red]✗ {escape(event.name)}[/] [dim]{escape(in_a_line(event.text))}[/]")
            case Returned():
                self._note(f"[green]✓ {escape(event.name)}[/] [dim]{escape(in_a_line(event.text))}[/]")
            case Waiting() | Parked():
                self.end_line()

    def _note(self, text: str) -> None:
        self.end_line()
        errors.print(text, soft_wrap=True)

    def end_line(self) -> None:
        """End the line, if one was begun."""
        if self._is_in_line:
            console.print()
        self._is_in_line = False


async def watch(conversation: Conversation, run: Run, screen: Screen, approver: Approver) -> Message:
    """
    Show a run until it is over, ask where it waits for a person, and return its answer.

    Raises:
        RunFailed: It gave no answer.
        CallWaits: A person has to approve something, and is not here.
        Interrupted: Whoever was asked pressed Ctrl-C; the run is cancelled.
    """
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_notice, conversation, run.id)
            async for event in follow(conversation, run.id):
                screen.show(event)
                if isinstance(event, Waiting):
                    await approver.answer(conversation, event)
                elif isinstance(event, Parked):
                    approver.give_up(run.id)
            tasks.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        await cancel(conversation, run.id)
        raise
    except BaseExceptionGroup as group:
        error = _first(group)
        if isinstance(error, Interrupted):
            await cancel(conversation, run.id)
        raise error from None
    finally:
        screen.end_line()
    message = answer(conversation, conversation.runs[run.id])
    if message is None:
        raise RunFailed("the run ended without a message")
    return message


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _notice(conversation: Conversation, run_id: str) -> None:
    await anyio.sleep(NOTICE_S)
    if conversation.runs[run_id].state == "requested":
        errors.print("waiting for an executor; Ctrl-C takes the request back", style="dim")
