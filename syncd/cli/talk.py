"""``conv run`` and ``conv chat``: asking a model, and watching its answer come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
import typer

from adapters import Executor, LlamaCpp, RunFailed, find_model
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
from syncd.view import message_json

ADAPTERS = ("llamacpp",)
NOTICE_S = 3.0

AdapterOption = Annotated[str, typer.Option("--adapter", "-a", help=f"One of: {', '.join(ADAPTERS)}.")]
ModelOption = Annotated[
    Path | None,
    typer.Option("--model", "-m", envvar="CONV_MODEL", help="A GGUF file; SmolLM2 where it is installed."),
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
    adapter: AdapterOption = "llamacpp",
    model: ModelOption = None,
    context: ContextOption = CONTEXT_TOKENS,
    max_tokens: MaxTokensOption = None,
    json: JsonOption = False,
) -> None:
    """
    Ask a model to answer a branch; asking again gives an alternative.

    Example: conv run 01J9 --max-tokens 200
    """

    async def main() -> None:
        async with writing(db) as workspace, executing(workspace, model, context):
            conversation = await workspace.open(conversation_id)
            message = await ask(conversation, target(adapter, max_tokens), branch, is_shown=not json)
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
    model: ModelOption = None,
    context: ContextOption = CONTEXT_TOKENS,
    max_tokens: MaxTokensOption = None,
) -> None:
    """
    Talk with a model.

    Example: conv chat
    """

    async def main() -> None:
        async with writing(db) as workspace, executing(workspace, model, context):
            if conversation_id is None:
                conversation = await workspace.create("Chat")
            else:
                conversation = await workspace.open(conversation_id)
            await _Chat(workspace, conversation, branch, target("llamacpp", max_tokens)).run()

    run_async(main)


def target(adapter: str, max_tokens: int | None) -> Target:
    """
    Return what a run is asked of.

    Raises:
        InvalidMessage: There is no such adapter.
    """
    if adapter not in ADAPTERS:
        raise InvalidMessage(f"no adapter {adapter!r}: it is one of {', '.join(ADAPTERS)}")
    return Target(adapter, params={} if max_tokens is None else {"max_tokens": max_tokens})


@asynccontextmanager
async def executing(workspace: Workspace, model: Path | None, context: int) -> AsyncIterator[None]:
    """Fulfil runs here, unless a daemon does."""
    if workspace.is_through_daemon:
        yield
        return
    llama = LlamaCpp(find_model(model), context_tokens=context)
    async with Executor(workspace.store, adapters=[llama]):
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
