"""
The tools of the programs: those of the configuration's ``[mcp.NAME]`` tables, as flags choose them.

Where a daemon holds the store its executor has the tools, and is asked what it has.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import httpx
import typer

from crdt_conv.store.lock import read_owner
from syncd.auth import read_token
from syncd.cli.common import config_table, errors
from syncd.errors import ConfigError, SyncRefused, SyncTimeout
from syncd.tools import ServerSettings, Toolset, read_servers

TIMEOUT_S: Final = 10.0
NAMES_HELP: Final = (
    "No tools: a table \\[mcp.NAME] of the configuration names an MCP server by its command or url."
)

ToolsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        metavar="NAME",
        help="Offer the tools of this MCP server of the configuration, [mcp.NAME]; may be given several "
        "times. All of them, where it is left out.",
    ),
]
NoToolsOption = Annotated[bool, typer.Option("--no-tools", help="Offer no tools.")]


def chosen_servers(
    context: typer.Context, names: Sequence[str] | None, *, is_off: bool = False
) -> tuple[ServerSettings, ...]:
    """
    Return the servers whose tools are offered.

    Raises:
        ConfigError: What stands in the configuration can't be.
        BadParameter: No such server stands there.
    """
    if is_off:
        if names:
            raise typer.BadParameter("--tools and --no-tools exclude each other")
        return ()
    table = config_table(context, "mcp")
    unknown = [name for name in names or () if name not in table]
    if unknown:
        known = f"it has {', '.join(table)}" if table else "it has none; docs/tools.md says how"
        raise typer.BadParameter(
            f"no table [mcp.{unknown[0]}] in the configuration: {known}", param_hint="--tools"
        )
    return read_servers(table, names or None)


@asynccontextmanager
async def connected(settings: Sequence[ServerSettings]) -> AsyncIterator[Toolset]:
    """Keep servers connected, for who only wants to know what they have; yields when that is known."""
    toolset = Toolset(settings)
    # Problems are told by who lists them.
    logging.getLogger("adapters").addHandler(logging.NullHandler())
    async with anyio.create_task_group() as tasks:
        for server in toolset.servers:
            tasks.start_soon(server.serve)
        for server in toolset.servers:
            await server.wait_until_listed()
        yield toolset
        tasks.cancel_scope.cancel()


def of_daemon(db: Path) -> Mapping[str, Any] | None:
    """
    Return what the daemon that holds a store offers, as ``Toolset.as_json`` does; nothing where none does.

    Raises:
        SyncTimeout: It does not answer.
        SyncRefused: It says no.
    """
    owner = read_owner(db.resolve())
    if owner is None or not owner.url:
        return None
    url, headers = f"{owner.url}/api/admin/tools", {"Authorization": f"Bearer {read_token(db) or ''}"}
    try:
        answer = httpx.get(url, headers=headers, timeout=TIMEOUT_S)
    except httpx.ConnectError:
        # It was killed, and nobody has cleared away what it said of itself.
        return None
    except httpx.HTTPError as error:
        raise SyncTimeout(f"the daemon at {owner.url} was not reached ({type(error).__name__})") from error
    if answer.status_code != httpx.codes.OK:
        raise SyncRefused(f"the daemon at {owner.url} answered {answer.status_code}", answer.status_code)
    told: Mapping[str, Any] = answer.json()
    return told


def offered(
    context: typer.Context, db: Path, names: Sequence[str] | None, *, is_off: bool
) -> Mapping[str, Any]:
    """
    Return what is offered to models here, as ``Toolset.as_json`` does; what is not there is told.

    Raises:
        ConfigError: What stands in the configuration can't be, or a daemon chooses.
    """
    listed = of_daemon(db)
    if listed is not None:
        refuse_flags(names, is_off=is_off)
    else:
        listed = anyio.run(_list, chosen_servers(context, names, is_off=is_off))
    for server in listed["servers"]:
        if server["problem"]:
            text = f"MCP server {server['name']}: {server['problem']}"
            errors.print(text, style="yellow", markup=False, soft_wrap=True)
    return listed


async def _list(settings: Sequence[ServerSettings]) -> Mapping[str, Any]:
    async with connected(settings) as toolset:
        return toolset.as_json()


def refuse_flags(names: Sequence[str] | None, *, is_off: bool) -> None:
    """
    Refuse what can't be chosen here.

    Raises:
        ConfigError: A flag chooses tools that a daemon has.
    """
    if names or is_off:
        raise ConfigError(
            "a daemon holds the store, and with it the tools: choose them with 'syncd serve --tools'"
        )


class Warnings(logging.Handler):
    """Shows what the executor warns of, in a line of ours, as it happens."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        errors.print(f"warning: {record.getMessage()}", style="yellow", markup=False, soft_wrap=True)


@asynccontextmanager
async def warning() -> AsyncIterator[None]:
    """Show warnings of the executor meanwhile."""
    logger, handler = logging.getLogger("adapters"), Warnings(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
