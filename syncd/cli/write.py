"""``conv new``, ``append``, ``fork``, ``merge`` and ``redact``: writing, with or without a daemon."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

from crdt_conv import MAIN, Conversation, InvalidMessage, UnknownMessage
from syncd.cli.common import DbOption, JsonOption, console, print_json, run_async
from syncd.cli.history import forget
from syncd.cli.look import BranchOption, IdArgument
from syncd.cli.workspace import writing
from syncd.view import message_json


def new(
    db: DbOption,
    title: Annotated[str, typer.Option("--title", "-t", help="What people call it.")] = "",
    json: JsonOption = False,
) -> None:
    """
    Make a conversation.

    Examples:
        conv new --title Trip
    """

    async def main() -> None:
        async with writing(db) as workspace:
            conversation = await workspace.create(title)
        if json:
            print_json({"id": conversation.id})
        else:
            console.print(conversation.id)

    run_async(main)


def append(
    conversation_id: IdArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads standard input.")],
    db: DbOption,
    branch: BranchOption = MAIN,
    role: Annotated[str, typer.Option("--role", help="user, system, assistant or tool.")] = "user",
    json: JsonOption = False,
) -> None:
    """
    Write a message at the end of a branch.

    Examples:
        conv append 01J9 "Where shall we go?"
        pbpaste | conv append 01J9 - --branch plan-b
    """

    async def main() -> None:
        async with writing(db) as workspace:
            conversation = await workspace.open(conversation_id)
            message = conversation.append(role, read_text(text), branch=branch)
            await workspace.settle(conversation)
            if json:
                print_json(message_json(conversation, message))
            else:
                console.print(message.id)

    run_async(main)


def fork(
    conversation_id: IdArgument,
    at: Annotated[
        str, typer.Option("--at", help="The message to fork at: its id, or how it begins or ends.")
    ],
    branch: Annotated[str, typer.Option("--branch", "-b", help="The new branch.")],
    db: DbOption,
    json: JsonOption = False,
) -> None:
    """
    Begin a branch at a message.

    Examples:
        conv fork 01J9 --at 01J9ZX --branch plan-b
    """

    async def main() -> None:
        async with writing(db) as workspace:
            conversation = await workspace.open(conversation_id)
            message = find_message(conversation, at)
            conversation.fork(branch, message)
            await workspace.settle(conversation)
        if json:
            print_json({"branch": branch, "at": message})
        else:
            console.print(f"branch {escape(branch)} begins at {escape(message)}")

    run_async(main)


def merge(
    conversation_id: IdArgument,
    branch: Annotated[str, typer.Argument(metavar="BRANCH", help="The branch to merge.")],
    db: DbOption,
    into: Annotated[str, typer.Option("--into", help="The branch that gets it.")] = MAIN,
    json: JsonOption = False,
) -> None:
    """
    Merge a branch into another.

    Examples:
        conv merge 01J9 plan-b --into main
    """

    async def main() -> None:
        async with writing(db) as workspace:
            conversation = await workspace.open(conversation_id)
            message = conversation.merge(branch, into)
            await workspace.settle(conversation)
            if json:
                print_json(None if message is None else message_json(conversation, message))
            elif message is None:
                console.print(f"{escape(into)} holds all of {escape(branch)} already")
            else:
                console.print(message.id)

    run_async(main)


def archive(
    conversation_id: IdArgument,
    db: DbOption,
    undo: Annotated[bool, typer.Option("--undo", help="Bring it back.")] = False,
    json: JsonOption = False,
) -> None:
    """
    Put a conversation away, on every device: 'conv ls' leaves it out then, and nothing of it is lost.

    Examples:
        conv archive 01J9
        conv archive 01J9 --undo
    """

    async def main() -> None:
        async with writing(db) as workspace:
            conversation = await workspace.open(conversation_id)
            conversation.archive(archived=not undo)
            await workspace.settle(conversation)
        if json:
            print_json({"id": conversation.id, "archived": not undo})
        else:
            console.print(f"{conversation.id} is {'back' if undo else 'archived'}", markup=False)

    run_async(main)


def redact(
    conversation_id: IdArgument,
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="The message: its id, or how it begins or ends.")
    ],
    db: DbOption,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Don't ask; nobody is asked where standard input is no terminal."),
    ] = False,
    keep_copies: Annotated[
        bool, typer.Option("--keep-copies", help="Leave what squash and cherry-pick made from it.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """
    Take out what a message says and hides, on every device; there is no way back.

    Its place in the conversation stays. What squash and cherry-pick made from it goes with it.
    Where this command holds the store itself, its bytes are in no file when it ends; a daemon's
    next compaction does the same.

    Examples:
        conv redact 01J9 01J9ZX --yes
    """

    async def main() -> None:
        async with writing(db) as workspace:
            conversation = await workspace.open(conversation_id)
            found = find_message(conversation, message)
            count = 0 if keep_copies else len(conversation.copies(found))
            copies = f" and what was made from it ({count})" if count else ""
            if sys.stdin.isatty() and not (yes or json):
                typer.confirm(f"Redact the message {found}{copies} for good?", abort=True, err=True)
            typed = [conversation.message(found).text]
            if not keep_copies:
                typed += [copy.text for copy in conversation.copies(found)]
            redacted = conversation.redact(found, copies=not keep_copies)
            for said in typed:
                forget(said)
            await workspace.settle(conversation)
            if not workspace.is_through_daemon:
                workspace.store.compact(conversation.id)
            if json:
                print_json(message_json(conversation, redacted))
            else:
                console.print(f"{escape(found)}{copies} is redacted")

    run_async(main)


def read_text(text: str) -> str:
    """
    Return a text argument, or standard input for ``-``.

    Raises:
        InvalidMessage: There is nothing in it.
    """
    given = sys.stdin.read().rstrip("\n") if text == "-" else text
    if not given.strip():
        raise InvalidMessage("the message is empty: give it as an argument, or - and standard input")
    return given


def find_message(conversation: Conversation, given: str) -> str:
    """
    Return the id of the one message whose id begins or ends with ``given``.

    Raises:
        UnknownMessage: There is none, or several.
    """
    ids = [message.id for message in conversation.graph]
    matches = [message_id for message_id in ids if message_id.startswith(given) or message_id.endswith(given)]
    if given in ids:
        return given
    if len(matches) != 1 or not given:
        raise UnknownMessage(given)
    return matches[0]
