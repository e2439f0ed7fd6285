"""``conv tools``: what a model may call here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from syncd.cli.common import DbOption, JsonOption, console, print_json
from syncd.cli.toolset import NAMES_HELP, ToolsOption, offered


def tools(context: typer.Context, db: DbOption, tools: ToolsOption = None, json: JsonOption = False) -> None:
    """
    List the tools that models are offered: of the daemon that holds the store, else of the configuration.

    Ends with 1 where a server is not there, and says what to do about it.

    Examples:
        conv tools
        conv tools --tools clock --json
    """
    listed = offered(context, db, tools, is_off=False)
    if json:
        print_json(listed)
    else:
        print_tools(listed)
    if any(server["problem"] for server in listed["servers"]):
        raise typer.Exit(1)


def print_tools(listed: Mapping[str, Any]) -> None:
    """Print a list of tools for people."""
    if not listed["servers"]:
        console.print(NAMES_HELP)
        return
    table = Table("tool", "server", "asks you", "repeatable", "", box=None, header_style="dim")
    for tool in listed["tools"]:
        asks, repeatable = (
            "yes" if tool[key] else "[dim]no[/]" for key in ("needs_approval", "is_repeatable")
        )
        first = tool["description"].strip().partition("\n")[0]
        table.add_row(*map(escape, (tool["name"], tool["server"])), asks, repeatable, escape(first))
    if listed["tools"]:
        console.print(table)
