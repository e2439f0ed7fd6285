"""The ``Examples:`` of a command's docstring, as ``--help`` shows them and as tests read them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import typer

HEADING: Final = "Examples:"


def with_examples(app: typer.Typer) -> typer.Typer:
    """Have the help of every command keep the lines of its examples as they stand."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.help = help_of(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            with_examples(group.typer_instance)
    return app


def help_of(function: Callable[..., Any]) -> str:
    """Return a function's docstring; click wraps no paragraph that begins with a backspace."""
    text = inspect.getdoc(function) or ""
    return text.replace(f"\n{HEADING}\n", f"\n\b\n{HEADING}\n")


def examples_of(function: Callable[..., Any]) -> list[str]:
    """Return the examples of a function's docstring."""
    _, _, section = (inspect.getdoc(function) or "").partition(f"\n{HEADING}\n")
    return [line.strip() for line in section.partition("\n\n")[0].splitlines()]
