"""``conv``: conversations, for people."""

from __future__ import annotations

from typing import NoReturn

import typer

from syncd.cli.common import RootDbOption, VersionOption, run_program
from syncd.cli.lazy import lazy_group

COMMANDS = {
    "new": "syncd.cli.write:new",
    "ls": "syncd.cli.look:ls",
    "show": "syncd.cli.look:show",
    "search": "syncd.cli.search:search",
    "append": "syncd.cli.write:append",
    "run": "syncd.cli.talk:run",
    "chat": "syncd.cli.chat:chat",
    "tools": "syncd.cli.tools:tools",
    "approve": "syncd.cli.approvals:approve",
    "fork": "syncd.cli.write:fork",
    "merge": "syncd.cli.write:merge",
    "explain": "syncd.cli.explain:explain",
    "archive": "syncd.cli.write:archive",
    "redact": "syncd.cli.write:redact",
    "verify": "syncd.cli.look:verify",
    "import": "syncd.cli.files:import_files",
    "export": "syncd.cli.files:export",
    "sync": "syncd.cli.sync:sync",
    "status": "syncd.cli.sync:status",
    "demo": "syncd.cli.demo:demo",
}

app = typer.Typer(
    name="conv",
    cls=lazy_group(COMMANDS),
    epilog="Every command has --help, and --debug for a traceback. 'conv demo' is a tour of a minute.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root(db: RootDbOption = None, version: VersionOption = False) -> None:
    """Conversations with language models that fork, work offline, and merge."""


def main() -> NoReturn:
    """Run the program."""
    run_program(app, "conv")
