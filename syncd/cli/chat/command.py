"""The command."""

from __future__ import annotations

from typing import Annotated

import typer

from crdt_conv import MAIN
from syncd.cli.chat.lines import PipedLines, Reader
from syncd.cli.chat.session import Session
from syncd.cli.common import CONTEXT_TOKENS, ContextOption, DbOption, is_interactive, run_async
from syncd.cli.completing import complete_conversation
from syncd.cli.look import BranchOption
from syncd.cli.running import (
    AdapterOption,
    EndpointOption,
    MaxTokensOption,
    ModelOption,
    check_tools,
    target,
)
from syncd.cli.toolset import NoToolsOption, ToolsOption, chosen_servers
from syncd.cli.workspace import writing
from syncd.models import LOCAL
from syncd.tools import Toolset


def chat(
    called: typer.Context,
    db: DbOption,
    conversation_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="A conversation; a new one, where it is left out.",
            autocompletion=complete_conversation,
        ),
    ] = None,
    branch: BranchOption = MAIN,
    adapter: AdapterOption = LOCAL,
    model: ModelOption = None,
    context: ContextOption = CONTEXT_TOKENS,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
    tools: ToolsOption = None,
    no_tools: NoToolsOption = False,
    no_history: Annotated[
        bool,
        typer.Option(
            "--no-history",
            envvar="CONV_NO_HISTORY",
            help="Keep nothing of what is typed for the next session.",
        ),
    ] = False,
) -> None:
    r"""
    Talk with a model.

    Alt-Enter or a \ at the end of a line begins another line; what is pasted is one message. /help lists
    what else can be typed. Ctrl-C cancels an answer; twice leaves. What other devices write appears as it
    comes. Without a terminal it reads a message from each line of standard input.

    Examples:
        conv chat
        conv chat 01J9 --branch plan-b --adapter anthropic --model claude-opus-5
        echo "Hello" | conv chat --no-tools
    """
    wanted = target(adapter, model, endpoint, max_tokens)

    async def main() -> None:
        async with writing(db) as workspace:
            check_tools(workspace, tools, is_off=no_tools)
            servers = () if workspace.is_through_daemon else chosen_servers(called, tools, is_off=no_tools)
            if conversation_id is None:
                conversation = await workspace.create("Chat")
            else:
                conversation = await workspace.open(conversation_id)
            session = Session(
                workspace, conversation, branch, wanted, context=context, toolset=Toolset(servers), db=db
            )
            await session.run(_reader(session, keeps_history=not no_history))

    run_async(main)


def _reader(session: Session, *, keeps_history: bool) -> Reader:
    if not is_interactive():
        return PipedLines()
    # A third of a second, which pipes are not to wait.
    from syncd.cli.chat.terminal import Terminal  # noqa: PLC0415

    return Terminal(session, keeps_history=keeps_history)
