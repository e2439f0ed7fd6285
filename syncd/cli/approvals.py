"""``conv approve``, and asking in place: whether a model may call a tool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final

import typer
from rich.markup import escape

from crdt_conv import Conversation, InvalidMessage
from syncd.cli.common import (
    DbOption,
    JsonOption,
    console,
    errors,
    is_interactive,
    print_json,
    run_async,
)
from syncd.cli.following import Waiting, waiting
from syncd.cli.look import IdArgument
from syncd.cli.workspace import find, reading, writing
from syncd.errors import SyncdError

VERDICTS: Final = {"": "[yellow]waits[/]", "yes": "[green]approved[/]", "no": "[red]denied[/]"}

Ask = Callable[[Conversation, Waiting], Awaitable[str]]
"""Asks a person: ``yes``, ``no``, ``always``, or nothing, where another device has answered meanwhile."""


class CallWaits(SyncdError):
    """A call of a tool waits for a person, and nobody is here who could be asked."""


class Interrupted(Exception):
    """A person who was asked pressed Ctrl-C."""


class Approver:
    """Answers for the calls of one session, or has a person asked."""

    def __init__(
        self, ask: Ask | None = None, *, approves_all: bool = False, is_through_daemon: bool = False
    ) -> None:
        """
        Make one.

        Args:
            ask: Asks a person; left out where nobody is here.
            approves_all: Whether all of them may be made.
            is_through_daemon: Whether a run goes on without this program.
        """
        self._ask = ask
        self._approves_all = approves_all
        self._is_through_daemon = is_through_daemon
        self._always: set[str] = set()

    @property
    def can_ask(self) -> bool:
        """Whether a person is here."""
        return self._ask is not None

    async def answer(self, conversation: Conversation, call: Waiting) -> None:
        """Have a call approved or denied; where nobody is here, say how that is done."""
        if self._approves_all or call.name in self._always:
            said = "yes"
        elif self._ask is not None:
            said = await self._ask(conversation, call)
        else:
            self._say_how(conversation, call)
            return
        if said == "always":
            self._always.add(call.name)
        if said and call in waiting(conversation, conversation.runs[call.run]):
            conversation.runs.approve(call.run, call.call, approved=said != "no")

    def _say_how(self, conversation: Conversation, call: Waiting) -> None:
        command = f"conv approve {conversation.id} {call.run} {call.call} --yes"
        text = f"{call.name} {call.arguments} waits for approval: {command}"
        errors.print(text, style="yellow", markup=False, soft_wrap=True)

    def give_up(self, run_id: str) -> None:
        """
        Don't wait for somebody who is not here.

        Raises:
            CallWaits: Only a person could help the run on, and while this program waits it holds the store.
        """
        if self._ask is None and not self._approves_all and not self._is_through_daemon:
            raise CallWaits(f"the run {run_id} waits for approval: answer, then 'conv run ID --resume'")


def approve(
    conversation_id: IdArgument,
    db: DbOption,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Only of this run: its id, or how it ends.")
    ] = None,
    call: Annotated[
        str | None, typer.Argument(metavar="CALL", help="Only this call: its name, or how it ends.")
    ] = None,
    verdict: Annotated[
        bool | None,
        typer.Option("--yes/--no", "-y/-n", help="Allow or deny; a person is asked, where it is left out."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """
    Say whether a model may call the tools that it waits for; without --yes or --no, list them or ask.

    Whoever fulfils the run goes on with it: a daemon at once, else the next 'conv chat' or
    'conv run ID --resume'.

    Examples:
        conv approve 01J9
        conv approve 01J9 --yes
        conv approve 01J9 01JB 01JC:01JD --no --json
    """

    async def main() -> None:
        async with writing(db) as workspace:
            conversation = await workspace.open(conversation_id)
            calls = _chosen(conversation, run, call)
            said = [(each, await _decide(conversation, each, verdict)) for each in calls]
            await workspace.settle(conversation)
        _print(said, is_json=json)
        if any(answer == "yes" for _, answer in said) and not (json or workspace.is_through_daemon):
            errors.print(f"'conv run {conversation_id} --resume' goes on with it", style="dim", markup=False)

    if verdict is None and (json or not is_interactive()):
        with reading(db) as store:
            opened = store.open(find(store, conversation_id))
            _print([(each, "") for each in _chosen(opened, run, call)], is_json=json)
        return
    run_async(main)


async def _decide(conversation: Conversation, call: Waiting, verdict: bool | None) -> str:
    if verdict is None:
        # A third of a second, which only who is asked is to wait.
        from syncd.cli.prompting import ask_approval  # noqa: PLC0415

        said = await ask_approval(conversation, call, may_be_always=False)
    else:
        said = "yes" if verdict else "no"
    if said and call in waiting(conversation, conversation.runs[call.run]):
        conversation.runs.approve(call.run, call.call, approved=said == "yes")
    return said


def _chosen(conversation: Conversation, run: str | None, call: str | None) -> list[Waiting]:
    """
    Return what waits, of a run and a call if they are given.

    Raises:
        InvalidMessage: Nothing that waits is called so.
    """
    found = [each for entry in conversation.runs.all() for each in waiting(conversation, entry)]
    if run is not None:
        found = [each for each in found if each.run.startswith(run) or each.run.endswith(run)]
    if call is not None:
        found = [each for each in found if each.call.endswith(call) or each.name == call]
    if not found and (run is not None or call is not None):
        raise InvalidMessage("nothing of that name waits for approval: 'conv approve ID' lists what does")
    return found


def _print(said: Sequence[tuple[Waiting, str]], *, is_json: bool) -> None:
    if is_json:
        approved = {"": None, "yes": True, "no": False}
        print_json([{**call.as_json(), "approved": approved[answer]} for call, answer in said])
        return
    if not said:
        console.print("nothing waits for approval")
        return
    for call, answer in said:
        # Never in columns: ids are there to be copied.
        console.print(
            f"[bold]{escape(call.name)}[/] {escape(call.arguments)}  {VERDICTS[answer]}", soft_wrap=True
        )
        console.print(f"  [dim]run {escape(call.run)}  call {escape(call.call)}[/]", soft_wrap=True)
