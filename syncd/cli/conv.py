"""``conv``: conversations, for people."""

from __future__ import annotations

from typing import NoReturn

import typer

from syncd.cli import files, look, sync, talk, write
from syncd.cli.common import RootDbOption, run_program
from syncd.cli.demo import demo
from syncd.cli.explain import explain
from syncd.cli.search import search

app = typer.Typer(
    name="conv",
    epilog="Every command has --help, and --debug for a traceback. 'conv demo' is a tour of a minute.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root(db: RootDbOption = None) -> None:
    """Conversations with language models that fork, work offline, and merge."""


for command in (
    write.new,
    look.ls,
    look.show,
    search,
    write.append,
    talk.run,
    talk.chat,
    write.fork,
    write.merge,
    explain,
    write.redact,
    look.verify,
    files.import_files,
    files.export,
    sync.sync,
    sync.status,
    demo,
):
    app.command("import" if command is files.import_files else None)(command)


def main() -> NoReturn:
    """Run the program."""
    run_program(app, "conv")
