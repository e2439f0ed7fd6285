"""``syncd``: the sync daemon, for operators."""

from __future__ import annotations

from typing import NoReturn

import typer

from syncd.cli import access, serve, status, upkeep
from syncd.cli.common import RootDbOption, VersionOption, run_program
from syncd.cli.examples import with_examples

app = typer.Typer(
    name="syncd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root(db: RootDbOption = None, version: VersionOption = False) -> None:
    """The sync daemon of crdt-conv, with an executor that answers."""


for commands in (serve, access, status, upkeep):
    app.add_typer(commands.app)

with_examples(app)


def main() -> NoReturn:
    """Run the program."""
    run_program(app, "syncd")
