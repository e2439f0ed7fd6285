"""``conv sync``: bring the store together with a daemon, once or for as long as it runs."""

from __future__ import annotations

from typing import Annotated

import anyio
import httpx
import typer
from rich.live import Live
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from crdt_conv import Conversation
from syncd.auth import VARIABLE
from syncd.cli.common import DbOption, JsonOption, console, errors, print_json, run_async
from syncd.cli.workspace import Workspace, writing
from syncd.client import SyncClient
from syncd.client.remote import Remote
from syncd.errors import SyncRefused, SyncTimeout

AT_ONCE = 16
POLL_S = 2.0

UrlArgument = Annotated[
    str, typer.Argument(metavar="URL", help="A daemon: http://host:port, as it prints it.")
]
TokenOption = Annotated[str | None, typer.Option("--token", envvar=VARIABLE, help="The daemon's token.")]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Stay, and go on until Ctrl-C.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the daemon.")]


def sync(
    url: UrlArgument,
    db: DbOption,
    token: TokenOption = None,
    watch: WatchOption = False,
    timeout: TimeoutOption = 30.0,
    json: JsonOption = False,
) -> None:
    """
    Exchange all conversations with a daemon, both ways.

    Without the daemon nothing is lost: what was written waits in the store.

    Example: conv sync http://127.0.0.1:7878 --token T --watch
    """

    async def main() -> None:
        address, shown_token = split_url(url, token)
        async with writing(db) as workspace, SyncClient(address, token=shown_token) as client:
            if watch:
                await _watch(workspace, client, address, shown_token, timeout)
                return
            conversations = await _all(workspace, address, shown_token, timeout)
            await _sync_all(client, conversations, timeout)
        if json:
            print_json({"url": address, "synced": [conversation.id for conversation in conversations]})
        else:
            console.print(f"in sync with {escape(address)}: {len(conversations)} conversations")

    run_async(main)


def split_url(url: str, token: str | None) -> tuple[str, str | None]:
    """Return a URL without the token that may be in it (as the daemon prints it), and the token."""
    parsed = httpx.URL(url)
    base = str(parsed.copy_with(query=None, fragment=None)).rstrip("/")
    return base, token or parsed.params.get("token")


async def _all(workspace: Workspace, url: str, token: str | None, timeout_s: float) -> list[Conversation]:
    """Return the conversations of both sides."""
    remote = await list_remote(url, token, timeout_s)
    local = [info.id for info in workspace.store.list()]
    both = dict.fromkeys([*local, *remote])
    # What was deleted here stays deleted, whoever still has it.
    here = [name for name in both if not workspace.store.engine.is_deleted(name)]
    return [workspace.store.join(conversation_id) for conversation_id in here]


async def list_remote(url: str, token: str | None, timeout_s: float) -> list[str]:
    """
    Return the ids of a daemon's conversations.

    Raises:
        SyncRefused: It said no.
        SyncTimeout: It was not reached.
    """
    async with Remote(url, token, timeout_s=timeout_s) as remote:
        try:
            return await remote.conversations()
        except SyncRefused as refused:
            if refused.code != httpx.codes.UNAUTHORIZED:
                raise
            raise SyncRefused(f"{refused}: --token, or {VARIABLE}", refused.code) from refused


async def _sync_all(client: SyncClient, conversations: list[Conversation], timeout_s: float) -> None:
    limiter = anyio.CapacityLimiter(AT_ONCE)
    columns = (TextColumn("syncing"), MofNCompleteColumn(), TextColumn("conversations"))
    with Progress(*columns, console=errors, transient=True) as progress:
        bar = progress.add_task("syncing", total=len(conversations))

        async def one(conversation: Conversation) -> None:
            async with limiter:
                await client.sync(conversation, timeout_s=timeout_s)
            progress.advance(bar)

        async with anyio.create_task_group() as tasks:
            for conversation in conversations:
                tasks.start_soon(one, conversation)


async def _watch(
    workspace: Workspace, client: SyncClient, url: str, token: str | None, timeout_s: float
) -> None:
    """Follow everything on either side, and show how it stands."""
    followed: dict[str, Conversation] = {}
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            try:
                found = await _all(workspace, url, token, timeout_s)
            except SyncTimeout:
                found = [workspace.store.join(info.id) for info in workspace.store.list()]
            followed |= {conversation.id: conversation for conversation in found}
            live.update(_table(client, list(followed.values())))
            await anyio.sleep(POLL_S)


def _table(client: SyncClient, conversations: list[Conversation]) -> Table:
    table = Table(
        "conversation", "state", box=None, header_style="dim", caption="Ctrl-C ends", caption_justify="left"
    )
    for conversation in conversations:
        table.add_row(escape(conversation.title) or conversation.id, str(client.status(conversation)))
    return table
