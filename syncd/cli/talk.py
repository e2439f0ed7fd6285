"""``conv run`` and ``conv chat``: asking a model, and watching its answer come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated

import anyio
import anyio.to_thread
import typer

from adapters import Executor, RunFailed
from adapters.answers import answer, answer_pieces, cancel
from crdt_conv import MAIN, Conversation, CrdtConvError, InvalidMessage, Target
from syncd.cli.common import (
    CONTEXT_TOKENS,
    ContextOption,
    DbOption,
    JsonOption,
    console,
    errors,
    print_json,
    run_async,
)
from syncd.cli.look import BranchOption, IdArgument, print_log
from syncd.cli.workspace import Workspace, writing
from syncd.models import LOCAL, NAMES, LocalModel, adapter_of
from syncd.view import message_json

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

CHAT_HELP = """\
[bold]/fork NAME[/] begin a branch at the end   [bold]/branch NAME[/] go to a branch
[bold]/merge NAME[/] merge a branch into this   [bold]/show[/] the log   [bold]/quit[/] or Ctrl-D leave
Ctrl-C while an answer comes cancels it."""


def run(
    conversation_id: IdArgument,
    db: DbOption,
    branch: BranchOption = MAIN,
    adapter: AdapterOption = LOCAL,
    model: ModelOption = None,
    context: ContextOption = CONTEXT_TOKENS,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
    json: JsonOption = False,
) -> None:
    """
    Ask a model to answer a branch; asking again gives an alternative.

    Example: conv run 01J9 --max-tokens 200
    """
    wanted = target(adapter, model, endpoint, max_tokens)

    async def main() -> None:
        async with writing(db) as workspace, executing(workspace, wanted, context):
            conversation = await workspace.open(conversation_id)
            message = await ask(conversation, asked(workspace, wanted), branch, is_shown=not json)
            await workspace.settle(conversation)
            if json:
                print_json(message)

    run_async(main)


def chat(
    db: DbOption,
    conversation_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A conversation; a new one, where it is left out.")
    ] = None,
    branch: BranchOption = MAIN,
    adapter: AdapterOption = LOCAL,
    model: ModelOption = None,
    context: ContextOption = CONTEXT_TOKENS,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
) -> None:
    """
    Talk with a model.

    Example: conv chat
    """
    wanted = target(adapter, model, endpoint, max_tokens)

    async def main() -> None:
        async with writing(db) as workspace, executing(workspace, wanted, context):
            if conversation_id is None:
                conversation = await workspace.create("Chat")
            else:
                conversation = await workspace.open(conversation_id)
            await _Chat(workspace, conversation, branch, asked(workspace, wanted)).run()

    run_async(main)


def target(adapter: str, model: str | None, endpoint: str | None, max_tokens: int | None) -> Target:
    """Return what a run is asked of."""
    return Target(adapter, model, endpoint, {} if max_tokens is None else {"max_tokens": max_tokens})


def asked(workspace: Workspace, wanted: Target) -> Target:
    """Return what stands in the run: the file of a local model is nobody else's."""
    is_file = wanted.adapter == LOCAL and not workspace.is_through_daemon
    return replace(wanted, model=None, endpoint=None) if is_file else wanted


@asynccontextmanager
async def executing(workspace: Workspace, wanted: Target, context: int) -> AsyncIterator[None]:
    """
    Fulfil runs here, unless a daemon does.

    Raises:
        InvalidMessage: There is no such adapter, or it has to be told which model.
        AdapterError: It can't be had here.
    """
    if workspace.is_through_daemon:
        yield
        return
    adapter = adapter_of(wanted, local=LocalModel(context_tokens=context))
    async with Executor(workspace.store, adapters=[adapter]):
        yield


async def ask(
    conversation: Conversation, wanted: Target, branch: str, *, is_shown: bool
) -> dict[str, object]:
    """
    Request a run, print its answer as it comes, and return it as JSON.

    Raises:
        RunFailed: It gave no answer.
    """
    requested = conversation.runs.request(wanted, branch)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_notice, conversation, requested.id)
            async for piece in answer_pieces(conversation, requested.id):
                if is_shown:
                    console.out(piece, end="", highlight=False)
            tasks.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        await cancel(conversation, requested.id)
        raise
    finally:
        if is_shown:
            console.print()
    message = answer(conversation, conversation.runs[requested.id])
    if message is None:
        raise RunFailed("the run ended without a message")
    return message_json(conversation, message)


async def _notice(conversation: Conversation, run_id: str) -> None:
    await anyio.sleep(NOTICE_S)
    if conversation.runs[run_id].state == "requested":
        errors.print("waiting for an executor; Ctrl-C takes the request back", style="dim")


class _Chat:
    """One session at the prompt."""

    def __init__(self, workspace: Workspace, conversation: Conversation, branch: str, wanted: Target) -> None:
        self._workspace = workspace
        self._conversation = conversation
        self._branch = branch
        self._target = wanted

    async def run(self) -> None:
        """Read lines until the end of input."""
        print_log(self._conversation, self._conversation.log(self._branch))
        console.print("[dim]/help shows what else can be typed[/]")
        while True:
            try:
                line = (await anyio.to_thread.run_sync(self._read_line, abandon_on_cancel=True)).strip()
            except EOFError:
                console.print()
                return
            if line in ("/quit", "/exit"):
                return
            try:
                await self._handle(line)
            except (CrdtConvError, RunFailed) as error:
                errors.print(f"error: {error}", style="red", markup=False)

    def _read_line(self) -> str:
        return input(f"{self._branch}> ")

    async def _handle(self, line: str) -> None:
        if line.startswith("/"):
            word, _, argument = line[1:].partition(" ")
            self._command(word, argument.strip())
        elif line:
            self._conversation.append("user", line, branch=self._branch)
            await ask(self._conversation, self._target, self._branch, is_shown=True)
        await self._workspace.settle(self._conversation)

    def _command(self, word: str, argument: str) -> None:
        match word:
            case "fork" if argument:
                log = self._conversation.log(self._branch)
                if not log.messages:
                    raise InvalidMessage("there is nothing to fork from yet: say something first")
                self._conversation.fork(argument, log.messages[-1].id)
                self._branch = argument
            case "branch" if argument:
                self._conversation.heads(argument)
                self._branch = argument
            case "merge" if argument:
                self._conversation.merge(argument, self._branch)
            case "show":
                print_log(self._conversation, self._conversation.log(self._branch))
            case _:
                console.print(CHAT_HELP)
