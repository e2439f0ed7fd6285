"""``conv run``: asking a model, and watching its answer come."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from crdt_conv import MAIN, Conversation, InvalidMessage, Run, Target
from syncd.cli.approvals import Approver, Interrupted
from syncd.cli.common import (
    CONTEXT_TOKENS,
    ContextOption,
    DbOption,
    JsonOption,
    is_interactive,
    print_json,
    run_async,
)
from syncd.cli.look import BranchOption, IdArgument
from syncd.cli.running import (
    AdapterOption,
    EndpointOption,
    MaxTokensOption,
    ModelOption,
    Screen,
    asked,
    check_tools,
    executing,
    target,
    watch,
)
from syncd.cli.toolset import NoToolsOption, ToolsOption, chosen_servers
from syncd.cli.workspace import Workspace, writing
from syncd.cli.write import read_text
from syncd.models import LOCAL
from syncd.tools import Toolset
from syncd.view import message_json


def run(
    called: typer.Context,
    conversation_id: IdArgument,
    db: DbOption,
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What to say first; - reads standard input."),
    ] = None,
    branch: BranchOption = MAIN,
    adapter: AdapterOption = LOCAL,
    model: ModelOption = None,
    context: ContextOption = CONTEXT_TOKENS,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
    tools: ToolsOption = None,
    no_tools: NoToolsOption = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run that waits, for approval or for an executor, with its model."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Approve every call of tools that needs it.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """
    Ask a model to answer a branch; asking again gives an alternative.

    Calls of tools that need it are asked for at a terminal. Elsewhere they wait: 'conv approve'.

    Examples:
        conv run 01J9 --max-tokens 200
        conv run 01J9 "And if it rains?"
        echo "What time is it in Tokyo?" | conv run 01J9 - --tools clock
        conv run 01J9 --resume --yes
    """
    if resume and text is not None:
        raise typer.BadParameter("--resume goes on with what was said: leave out TEXT")
    wanted = target(adapter, model, endpoint, max_tokens)
    said = None if text is None else read_text(text)
    is_asking = is_interactive() and not json

    async def main() -> None:
        async with writing(db) as workspace:
            check_tools(workspace, tools, is_off=no_tools)
            conversation = await workspace.open(conversation_id)
            run = _waiting_run(conversation, branch) if resume else None
            chosen = wanted if run is None else _target_of(run, wanted)
            servers = () if workspace.is_through_daemon else chosen_servers(called, tools, is_off=no_tools)
            approver = _approver(workspace, is_asking=is_asking, approves_all=yes)
            async with executing(workspace, chosen, context, Toolset(servers)) as executor:
                if said is not None:
                    conversation.append("user", said, branch=branch)
                if run is None:
                    run = conversation.runs.request(asked(workspace, chosen), branch)
                elif executor is not None:
                    executor.offer(conversation)
                message = await watch(conversation, run, Screen(is_quiet=json), approver)
                await workspace.settle(conversation)
            if json:
                print_json(message_json(conversation, message))

    try:
        run_async(main)
    except Interrupted:
        raise KeyboardInterrupt from None


def _approver(workspace: Workspace, *, is_asking: bool, approves_all: bool) -> Approver:
    ask = None
    if is_asking:
        # A third of a second, which only who may be asked is to wait.
        from syncd.cli.prompting import ask_approval  # noqa: PLC0415

        ask = ask_approval
    return Approver(ask, approves_all=approves_all, is_through_daemon=workspace.is_through_daemon)


def _waiting_run(conversation: Conversation, branch: str) -> Run:
    """
    Return the last run of a branch that is not over.

    Raises:
        InvalidMessage: There is none.
    """
    runs = [run for run in conversation.runs.all() if run.branch == branch and not run.is_over]
    if not runs:
        raise InvalidMessage(f"no run of {branch} waits: without --resume the model is asked anew")
    return runs[-1]


def _target_of(run: Run, wanted: Target) -> Target:
    """Return what a run is asked of; which file a local model is in, only flags can say."""
    if run.target.adapter == LOCAL:
        return replace(run.target, model=wanted.model, endpoint=wanted.endpoint)
    return run.target
