"""Commands that are imported when they are asked for, so that each starts as fast as what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from syncd.cli.examples import help_of


def lazy_group(commands: Mapping[str, str]) -> type[TyperGroup]:
    """
    Return the class of a group of commands.

    Args:
        commands: ``module:function`` by name, in the order of the help; the function is as typer takes it.
    """

    class LazyGroup(TyperGroup):
        """Imports a command's module when the command is asked for."""

        def list_commands(self, ctx: Any) -> list[str]:
            del ctx
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            del ctx
            where = commands.get(cmd_name)
            if where is None:
                return None
            module, _, function = where.partition(":")
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
            callback = getattr(import_module(module), function)
            single.command(cmd_name, help=help_of(callback))(callback)
            return get_command(single)

    return LazyGroup
