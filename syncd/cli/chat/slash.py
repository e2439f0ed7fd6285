"""
What can be typed behind a slash: one table, from which the help and the completion are made, too.

A command gets the session and what stands behind its name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
from rich.markup import escape
from rich.table import Table

from adapters.explaining import explain
from crdt_conv import InvalidMessage, Message
from syncd.cli.common import console, errors
from syncd.cli.explain import explanation_tree
from syncd.cli.files import Format, encoded
from syncd.cli.graph import draw_graph
from syncd.cli.look import print_log
from syncd.cli.tools import print_tools
from syncd.cli.toolset import of_daemon
from syncd.cli.write import find_message
from syncd.models import NAMES, adapter_of
from syncd.tools import tools_of

if TYPE_CHECKING:
    from syncd.cli.chat.session import Session

Handler = Callable[["Session", str], Awaitable[None]]
Complete = Callable[["Session", str], Iterable[str]]


class Leave(Exception):
    """A person wants to leave."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what stands behind its name, what it does, and what may be completed behind it."""

    usage: str
    told: str
    handler: Handler
    complete: Complete | None = None


async def perform(session: Session, line: str) -> None:
    """
    Do what a line says that begins with a slash.

    Raises:
        InvalidMessage: There is no such command, or it can't be done.
        Leave: That is what it says.
    """
    word, _, argument = line[1:].partition(" ")
    command = COMMANDS.get(word)
    if command is None:
        raise InvalidMessage(f"there is no /{word}: /help lists what there is")
    await command.handler(session, argument.strip())


def completions(session: Session, typed: str) -> Iterator[tuple[str, str]]:
    """Yield what a line may go on with: for its first word whole commands, and what they do."""
    word, has_more, argument = typed[1:].partition(" ")
    if not has_more:
        found = ((f"/{name}", command.told) for name, command in COMMANDS.items() if name.startswith(word))
        yield from found
        return
    complete = COMMANDS[word].complete if word in COMMANDS else None
    for text in complete(session, argument) if complete is not None else ():
        if text.startswith(argument.rpartition(" ")[2]):
            yield text, ""


# What there is to complete


def _branches(session: Session, argument: str) -> Iterable[str]:
    return session.conversation.branches if " " not in argument else ()


def _messages(session: Session, argument: str) -> Iterable[str]:
    return (node.id for node in session.conversation.graph) if " " in argument else ()


def _adapters(_session: Session, argument: str) -> Iterable[str]:
    return NAMES if " " not in argument else ()


def _formats(session: Session, argument: str) -> Iterable[str]:
    return list(Format) if " " not in argument else _files(session, argument)


def _files(_session: Session, argument: str) -> Iterable[str]:
    given = argument.rpartition(" ")[2]
    folder, name = Path(given or ".").parent, Path(given).name
    if given.endswith("/"):
        folder, name = Path(given), ""
    try:
        found = sorted(folder.expanduser().iterdir())
    except OSError:
        return
    prefix = given[: len(given) - len(name)]
    for file in found:
        if file.name.startswith(name) and not (file.name.startswith(".") and not name):
            yield f"{prefix}{file.name}{'/' if file.is_dir() else ''}"


# What they do


async def _help(_session: Session, _argument: str) -> None:
    table = Table(box=None, show_header=False)
    for name, command in COMMANDS.items():
        table.add_row(f"[bold]/{name}[/] {escape(command.usage)}", escape(command.told))
    console.print(table)
    console.print("[dim]Alt-Enter or \\ begins another line; Ctrl-C cancels an answer, twice leaves[/]")


async def _quit(_session: Session, _argument: str) -> None:
    raise Leave


async def _model(session: Session, argument: str) -> None:
    wanted = session.executor.wanted
    if argument:
        first, _, rest = argument.partition(" ")
        if first in NAMES:
            chosen = replace(wanted, adapter=first, model=rest.strip() or None, endpoint=None)
        else:
            chosen = replace(wanted, model=argument)
        await session.executor.use(chosen)
        wanted = chosen
    console.print(f"[dim]{escape(wanted.adapter)} {escape(wanted.model or '')}[/]".rstrip())


async def _branch(session: Session, argument: str) -> None:
    if argument:
        session.conversation.heads(argument)
        session.enter(argument)
        session.show_log()
        return
    for name in session.conversation.branches:
        console.print(f"{'●' if name == session.branch else ' '} {escape(name)}")


async def _fork(session: Session, argument: str) -> None:
    name, _, at = _need(argument, "/fork NAME").partition(" ")
    log = session.conversation.log(session.branch)
    if not log.messages:
        raise InvalidMessage("there is nothing to fork from yet: say something first")
    message = find_message(session.conversation, at.strip()) if at.strip() else log.messages[-1].id
    session.conversation.fork(name, message)
    session.enter(name)
    console.print(f"[dim]branch {escape(name)} begins at {escape(message)}[/]")


async def _merge(session: Session, argument: str) -> None:
    branch = _need(argument, "/merge BRANCH")
    message = session.conversation.merge(branch, session.branch)
    session.enter(session.branch)
    done = "merged" if message is not None else "nothing in it that is not here:"
    console.print(f"[dim]{done} {escape(branch)}[/]")


async def _tree(session: Session, _argument: str) -> None:
    console.print(draw_graph(session.conversation))


async def _show(session: Session, _argument: str) -> None:
    session.show_log()


async def _hidden(session: Session, _argument: str) -> None:
    log = session.conversation.log(session.branch)
    print_log(session.conversation, log, hidden=True)


async def _edit(session: Session, argument: str) -> None:
    message = _last(session, "user")
    session.draft.edited = message.id
    if argument:
        await session.say(argument)
    else:
        session.draft.text = message.text


async def _again(session: Session, _argument: str) -> None:
    run = session.conversation.runs.again(_last(session, "assistant").id, session.executor.target)
    session.branch = run.branch
    await session.ask(run)


async def _attach(session: Session, argument: str) -> None:
    file = _path(_need(argument, "/attach FILE"))
    session.draft.parts.append(session.conversation.attach(file))
    console.print(f"[dim]{escape(file.name)} goes with the next message[/]")


async def _title(session: Session, argument: str) -> None:
    if argument:
        session.conversation.title = argument
    console.print(f"[dim]{escape(session.conversation.title) or 'untitled'}[/]")


async def _tools(session: Session, _argument: str) -> None:
    listed = await _listed(session)
    print_tools(listed)
    for server in listed["servers"]:
        if server["problem"]:
            text = f"MCP server {server['name']}: {server['problem']}"
            errors.print(text, style="yellow", markup=False, soft_wrap=True)


async def _approve(session: Session, _argument: str) -> None:
    if session.approver.can_ask:
        for call in session.waiting():
            await session.approver.answer(session.conversation, call)
    if not session.waiting():
        console.print("[dim]nothing waits for approval[/]")


async def _explain(session: Session, _argument: str) -> None:
    tools = tools_of(await _listed(session))
    wanted = session.executor.wanted
    explained = explain(adapter_of(wanted), session.conversation, wanted, session.branch, tools)
    console.print(explanation_tree(explained.as_json()))


async def _export(session: Session, argument: str) -> None:
    name, _, file = _need(argument, "/export FORMAT [FILE]").partition(" ")
    if name not in set(Format):
        raise InvalidMessage(f"no format {name!r}: it is one of {', '.join(Format)}")
    data = encoded(session.conversation, Format(name), session.branch)
    if not file.strip():
        console.out(data.decode(errors="replace"), highlight=False)
        return
    target = _path(file.strip())
    # A file that is there already is not ours to lose.
    with target.open("xb") as opened:
        opened.write(data)
    console.print(f"[dim]wrote {escape(str(target))}[/]")


async def _listed(session: Session) -> Mapping[str, Any]:
    """Return the tools that are offered here, as ``Toolset.as_json`` does."""
    if session.workspace.is_through_daemon:
        listed = await anyio.to_thread.run_sync(of_daemon, session.db)
        return listed if listed is not None else {"tools": [], "servers": []}
    for server in session.toolset.servers:
        await server.wait_until_listed()
    return session.toolset.as_json()


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _need(argument: str, usage: str) -> str:
    if not argument:
        raise InvalidMessage(f"say what: {usage}")
    return argument


def _last(session: Session, role: str) -> Message:
    message = session.last(role)
    if message is None:
        raise InvalidMessage(f"there is no message of {'yours' if role == 'user' else 'a model'} here yet")
    return message


COMMANDS: Final[dict[str, Command]] = {
    "help": Command("", "list what can be typed", _help),
    "model": Command("[ADAPTER] [NAME]", "show or choose who answers", _model, _adapters),
    "branch": Command("[NAME]", "list branches, or go to one", _branch, _branches),
    "fork": Command("NAME [MESSAGE]", "begin a branch, at the end or at a message", _fork, _messages),
    "merge": Command("BRANCH", "merge a branch into this one", _merge, _branches),
    "tree": Command("", "draw all branches", _tree),
    "show": Command("", "show this branch", _show),
    "edit": Command("[TEXT]", "say your last message anew, on a fork", _edit),
    "again": Command("", "ask again for the last answer", _again),
    "attach": Command("FILE", "send a file with the next message", _attach, _files),
    "title": Command("[TEXT]", "show or change the title", _title),
    "hidden": Command("", "show what providers sealed into messages", _hidden),
    "tools": Command("", "list what the model may call", _tools),
    "approve": Command("", "answer for the calls that wait", _approve),
    "explain": Command("", "show what would be sent, and why", _explain),
    "export": Command("FORMAT [FILE]", "write it as json, markdown, jsonl or ydoc", _export, _formats),
    "quit": Command("", "leave; Ctrl-D does too", _quit),
    "exit": Command("", "leave", _quit),
}
