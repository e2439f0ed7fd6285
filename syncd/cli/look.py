"""``conv ls``, ``conv show`` and ``conv verify``: reading, beside whoever writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from crdt_conv import MAIN, Conversation, ConversationInfo, HiddenField, Log, Message, Part, StoreMissing
from syncd.cli.common import DbOption, JsonOption, console, errors, listing, print_json, print_lines
from syncd.cli.completing import complete_branch, complete_conversation
from syncd.cli.graph import draw_graph
from syncd.cli.workspace import find, reading
from syncd.view import conversation_json, info_json

IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A conversation: its id, or how it begins.",
        autocompletion=complete_conversation,
    ),
]
BranchOption = Annotated[
    str, typer.Option("--branch", "-b", help="A branch.", autocompletion=complete_branch)
]

LINE_CHARACTERS = 200
STYLES = {"user": "bold cyan", "assistant": "bold green", "system": "bold magenta", "tool": "bold yellow"}


def ls(
    db: DbOption,
    archived: Annotated[
        bool, typer.Option("--archived", help="Those that were put away, and no others.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Those that were put away, too.")] = False,
    json: JsonOption = False,
) -> None:
    """
    List conversations, the one that changed last first.

    Examples:
        conv ls
        conv ls --archived
        conv ls --json | jq -r '.[0].id'
    """
    try:
        with reading(db) as store:
            infos = store.list()
    except StoreMissing:
        # Nothing was written yet: an empty list is the true answer.
        infos = []
    shown = [info for info in infos if everything or info.is_archived == archived]
    if json:
        print_json([info_json(info) for info in shown])
    elif not infos:
        console.print("No conversations yet: [bold]conv new --title Trip[/] makes one.")
    else:
        _print_infos(shown)
        if hidden := len(infos) - len(shown):
            errors.print(f"{hidden} more: conv ls --all", style="dim")


def _print_infos(infos: Sequence[ConversationInfo]) -> None:
    table = listing("id", "title", "changed")
    for info in infos:
        mark = " [dim](archived)[/]" if info.is_archived else ""
        table.add_row(info.id, (escape(info.title) or "[dim]untitled[/]") + mark, _when(info.updated))
    if infos:
        print_lines(table)


def show(
    conversation_id: IdArgument,
    db: DbOption,
    branch: BranchOption = MAIN,
    tree: Annotated[bool, typer.Option("--tree", help="Draw all branches as a graph.")] = False,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Show what providers sealed into messages, too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """
    Show the log of a branch.

    Examples:
        conv show 01J9 --branch plan-b
        conv show 01J9 --tree
    """
    with reading(db) as store:
        conversation = store.open(find(store, conversation_id))
        if json:
            print_json(conversation_json(conversation, branch, hidden=hidden))
        elif tree:
            print_lines(draw_graph(conversation))
        else:
            print_log(conversation, conversation.log(branch), hidden=hidden)


def verify(conversation_id: IdArgument, db: DbOption, json: JsonOption = False) -> None:
    """
    Look for what can't be read in a conversation; ends with 1 where something is not shown.

    Examples:
        conv verify 01J9
    """
    with reading(db) as store:
        conversation = store.open(find(store, conversation_id))
        problems = conversation.verify()
        placed = len(conversation)
    if json:
        rows = [{"code": p.code, "root": p.root, "key": p.key, "text": p.text} for p in problems]
        print_json({"id": conversation.id, "messages": placed, "problems": rows})
    elif problems:
        table = Table("problem", "where", "what", box=None, header_style="dim")
        for problem in problems:
            where = "/".join(filter(None, (problem.root, problem.key)))
            table.add_row(problem.code, escape(where), escape(problem.text))
        console.print(table)
    else:
        console.print(f"{placed} messages, nothing is wrong")
    if any(problem.is_hiding for problem in problems):
        raise typer.Exit(1)


def print_log(conversation: Conversation, log: Log, *, hidden: bool = False) -> None:
    """Print a log for people, with the hidden fields of its messages where they are asked for."""
    branches = ", ".join(conversation.branches)
    console.rule(
        f"[bold]{escape(conversation.title) or 'untitled'}[/]  [dim]{escape(log.branch)}[/]", align="left"
    )
    for message in log.messages:
        print_message(message)
        if hidden and message.hidden_count:
            console.print(_hidden_table(conversation.hidden(message.id)))
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
    status = "" if message.is_complete else f" [yellow]({escape(message.status)})[/]"
    style = STYLES.get(message.role, "bold")
    where = escape(f"{message.branch} {message.id}")
    console.print(f"[{style}]{escape(who)}[/]{status} [dim]{where}[/]")
    for part in message.parts:
        console.print(_part(part), soft_wrap=part.type != "text")
    console.print()


def _part(part: Part) -> str:
    """Return a part for people: text as it is, calls and results in a line."""
    content = {key: value if isinstance(value, str) else "" for key, value in part.content.items()}
    match part.type:
        case "text" | "summary":
            return escape(part.text)
        case "tool_call":
            arguments = in_a_line(content.get("arguments", ""))
            return f"[cyan]▸ {escape(content.get('name', ''))}[/] [dim]{escape(arguments)}[/]"
        case "tool_result":
            is_error = part.content.get("is_error") is True
            mark = "[red]✗[/]" if is_error else "[green]✓[/]"
            return f"{mark} [dim]{escape(in_a_line(content.get('content', '')))}[/]"
        case "media":
            return f"[dim]▣ {escape(content.get('name') or content.get('mime') or 'a file')}[/]"
        case _:
            return f"[dim]{escape(part.type)}[/]"


def in_a_line(text: str) -> str:
    """Return the beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"


def _hidden_table(fields: list[HiddenField]) -> Table:
    table = Table("hidden", "of", "binding", "part", "bytes", box=None, header_style="dim", style="dim")
    for field in fields:
        size = (
            str(len(field.data))
            if isinstance(field.data, bytes | str)
            else "not here"
            if field.blob
            else "JSON"
        )
        table.add_row(
            escape(field.kind), escape(field.space), escape(field.binding), escape(field.at or ""), size
        )
    return table


def _when(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "?"
