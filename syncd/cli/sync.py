"""``conv sync``: bring the store together with a daemon, once or for as long as it runs."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import anyio
import httpx
import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from crdt_conv import Conversation
from crdt_conv.store.lock import read_owner
from syncd.auth import VARIABLE
from syncd.cli.common import DbOption, JsonOption, console, counted, errors, print_json, run_async
from syncd.cli.progress import bar
from syncd.cli.watching import AT_ONCE, Watch
from syncd.cli.workspace import Workspace, reading, writing
from syncd.client import SyncClient
from syncd.client.remote import Remote
from syncd.errors import SyncRefused

SCHEMES = ("http", "https", "ws", "wss")
POLL_S = 2.0
SHOW_S = 0.1
ROWS = 30
"""So many conversations are shown."""

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

    Without the daemon nothing is lost: what was written waits in the store. With --watch it goes on, through
    any break, and shows how it stands; with --json too, a line of JSON whenever that changes. What was
    deleted there is told, stays here, and is not brought back.

    Examples:
        conv sync http://127.0.0.1:7878 --token T --watch
    """

    async def main() -> None:
        address, shown_token = split_url(url, token)
        async with writing(db) as workspace, SyncClient(address, token=shown_token) as client:
            if watch:
                await _watch(workspace, client, address, shown_token, timeout, is_json=json)
                return
            names = await _both(workspace, address, shown_token, timeout)
            conversations = [workspace.store.join(name) for name in names]
            outcome = await _sync_all(client, conversations, shown_token, timeout)
        _print_outcome(address, outcome, is_json=json)

    run_async(main)


@dataclass(slots=True)
class _Outcome:
    """What became of conversations, by their ids."""

    synced: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def _print_outcome(url: str, outcome: _Outcome, *, is_json: bool) -> None:
    if is_json:
        print_json({"url": url, **asdict(outcome)})
    else:
        console.print(f"in sync with {escape(url)}: {counted(len(outcome.synced), 'conversation')}")
        if outcome.deleted:
            console.print(f"  {len(outcome.deleted)} were deleted there; they stay here, and stay out of it")
        for name, reason in outcome.refused.items():
            errors.print(f"  {name}: {reason}", style="red", markup=False, soft_wrap=True)
    if outcome.refused:
        raise typer.Exit(1)


def split_url(url: str, token: str | None) -> tuple[str, str | None]:
    """Return a URL without the token that may be in it (as the daemon prints it), and the token."""
    parsed = httpx.URL(url)
    if parsed.scheme not in SCHEMES or not parsed.host:
        raise typer.BadParameter(f"{url!r} is no address of a daemon: http://host:port", param_hint="URL")
    base = str(parsed.copy_with(query=None, fragment=None)).rstrip("/")
    shown = httpx.QueryParams(parsed.fragment)
    return base, token or parsed.params.get("token") or shown.get("token")


async def _both(workspace: Workspace, url: str, token: str | None, timeout_s: float) -> list[str]:
    """Return the ids of the conversations of both sides, what changed last here first."""
    remote = await list_remote(url, token, timeout_s)
    local = [info.id for info in workspace.store.list()]
    gone = {*workspace.store.engine.tombstones()}
    # What was deleted here stays deleted, whoever still has it.
    return [name for name in dict.fromkeys([*local, *remote]) if name not in gone]


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


async def _sync_all(
    client: SyncClient, conversations: list[Conversation], token: str | None, timeout_s: float
) -> _Outcome:
    limiter, outcome = anyio.CapacityLimiter(AT_ONCE), _Outcome()
    async with Remote(client.url, token, timeout_s=timeout_s) as remote:
        with bar("syncing conversations") as progress:

            async def one(conversation: Conversation) -> None:
                async with limiter:
                    try:
                        await client.sync(conversation, timeout_s=timeout_s)
                        outcome.synced.append(conversation.id)
                    except SyncRefused as refused:
                        await _refused(remote, conversation.id, refused, outcome)
                    # Others need the room: a socket carries so many.
                    client.unfollow(conversation)
                done = len(outcome.synced) + len(outcome.deleted) + len(outcome.refused)
                progress(done, len(conversations))

            async with anyio.create_task_group() as tasks:
                for conversation in conversations:
                    tasks.start_soon(one, conversation)
    return outcome


async def _refused(remote: Remote, name: str, refused: SyncRefused, outcome: _Outcome) -> None:
    if await remote.is_deleted(name):
        outcome.deleted.append(name)
    else:
        outcome.refused[name] = str(refused)


async def _watch(
    workspace: Workspace, client: SyncClient, url: str, token: str | None, timeout_s: float, *, is_json: bool
) -> None:
    """Follow everything on either side, and show how it stands."""

    async def names() -> list[str]:
        return await _both(workspace, url, token, timeout_s)

    watch = Watch(workspace.store, client, names)
    live = Live(console=console, refresh_per_second=4)
    async with Remote(url, token, timeout_s=timeout_s) as remote, anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run, remote)
        told: dict[str, Any] = {}
        with nullcontext() if is_json else live:
            while True:
                if is_json:
                    if told != (told := _watched(client)):
                        print_json(told)
                else:
                    live.update(_table(client, watch.conversations))
                with anyio.move_on_after(POLL_S):
                    await client.changed()
                # What changes together is shown once.
                await anyio.sleep(SHOW_S)


def _watched(client: SyncClient) -> dict[str, Any]:
    summary, statuses = client.summary, client.statuses
    shown = {name: asdict(status) for name, status in statuses.items()}
    return {"url": client.url, "state": summary.state, "waiting": summary.waiting, "conversations": shown}


def _table(client: SyncClient, conversations: list[Conversation]) -> Table:
    caption = f"{client.url}: {client.summary}. Ctrl-C ends"
    table = Table("conversation", "state", box=None, header_style="dim", caption=caption)
    table.caption_justify = "left"
    statuses = client.statuses
    # What is not in sync is what people look for.
    shown = sorted(conversations, key=lambda each: statuses[each.id].state == "in sync")
    for conversation in shown[:ROWS]:
        table.add_row(escape(conversation.title) or conversation.id, str(statuses[conversation.id]))
    if len(shown) > ROWS:
        table.add_row(f"and {len(shown) - ROWS} more", "")
    return table


def status(db: DbOption, json: JsonOption = False) -> None:
    """
    Show who holds the store, which daemons it was synced with, and what waits for each.

    It asks nobody on the network: what waits is what they have not said that they stored. Where a daemon
    holds the store, 'syncd status' shows more.

    Examples:
        conv status --json
    """
    with reading(db) as store:
        infos, peers = store.list(), store.engine.peers()
        waiting = {peer: sum(store.waiting(peer, info.id) for info in infos) for peer in peers}
    owner = read_owner(db.resolve())
    told = {
        "db": str(db),
        "daemon": owner.url if owner is not None and owner.url else None,
        "conversations": len(infos),
        "peers": [{"url": peer, "waiting": count} for peer, count in waiting.items()],
    }
    if json:
        print_json(told)
        return
    held = f"held by {owner.program} {owner.url}".rstrip() if owner is not None else "held by nobody"
    console.print(f"{db}: {counted(len(infos), 'conversation')}, {held}", markup=False, soft_wrap=True)
    table = Table("synced with", "waiting", box=None, header_style="dim")
    for peer, count in waiting.items():
        table.add_row(escape(peer), str(count) if count else "nothing")
    if peers:
        console.print(table)
    else:
        console.print("synced with nobody yet: 'conv sync URL'", style="dim")
