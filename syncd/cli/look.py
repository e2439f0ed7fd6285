"""``conv ls`` and ``conv show``: reading, beside whoever writes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from crdt_conv import MAIN, Conversation, Log, Message, StoreMissing
from syncd.cli.common import DbOption, JsonOption, console, print_json
from syncd.cli.graph import draw_graph
from syncd.cli.workspace import find, reading
from syncd.view import conversation_json, info_json

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A conversation: its id, or how it begins.")]
BranchOption = Annotated[str, typer.Option("--branch", "-b", help="A branch.")]

STYLES = {"user": "bold cyan", "assistant": "bold green", "system": "bold magenta", "tool": "bold yellow"}


def ls(db: DbOption, json: JsonOption = False) -> None:
    """
    List conversations, the one that changed last first.

    Example: conv ls
    """
    try:
        with reading(db) as store:
            infos = store.list()
    except StoreMissing:
        # Nothing was written yet: an empty list is the true answer.
        infos = []
    if json:
        print_json([info_json(info) for info in infos])
        return
    if not infos:
        console.print("No conversations yet: [bold]conv new --title Trip[/] makes one.")
        return
    table = Table("id", "title", "changed", box=None, header_style="dim")
    for info in infos:
        table.add_row(info.id, escape(info.title) or "[dim]untitled[/]", _when(info.updated))
    console.print(table)


def show(
    conversation_id: IdArgument,
    db: DbOption,
    branch: BranchOption = MAIN,
    tree: Annotated[bool, typer.Option("--tree", help="Draw all branches as a graph.")] = False,
    json: JsonOption = False,
) -> None:
    """
    Show the log of a branch.

    Example: conv show 01J9 --branch plan-b
    """
    with reading(db) as store:
        conversation = store.open(find(store, conversation_id))
        if json:
            print_json(conversation_json(conversation, branch))
        elif tree:
            console.print(draw_graph(conversation))
        else:
            print_log(conversation, conversation.log(branch))


def print_log(conversation: Conversation, log: Log) -> None:
    """Print a log for people."""
    branches = ", ".join(conversation.branches)
    console.rule(f"[bold]{escape(conversation.title) or 'untitled'}[/]  [dim]{log.branch}[/]", align="left")
    for message in log.messages:
        print_message(message)
    if log.is_diverged:
        console.print(f"[yellow]diverged: {len(log.heads)} heads; the next message joins them[/]")
    problems = conversation.problems()
    if problems:
        console.print(f"[yellow]{len(problems)} entries can't be read or wait for others[/]")
    console.print(f"[dim]{conversation.id}  branches: {escape(branches)}  digest: {log.digest.hex()[:12]}[/]")


def print_message(message: Message) -> None:
    """Print one message for people."""
    if message.role == "merge":
        console.print("[dim]── merged ──[/]")
        return
    who = message.author.name or message.role
    status = "" if message.is_complete else f" [yellow]({message.status})[/]"
    style = STYLES.get(message.role, "bold")
    console.print(f"[{style}]{escape(who)}[/]{status} [dim]{escape(message.branch)} {message.id}[/]")
    console.print(escape(message.text or ", ".join(part.type for part in message.parts)))
    console.print()


def _when(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "?"
