"""
What both programs share: settings, printing, and how they fail.

Flags stand above ``CONV_*`` variables, and those above the TOML file
``config.toml`` in the platform's configuration directory. Exit codes: 0 done,
1 failed, 2 wrong usage, 130 stopped by Ctrl-C. An error is one line on
standard error; ``--debug`` adds the traceback.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import tomllib
from collections.abc import Callable, Coroutine, Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote, urlsplit, urlunsplit

import anyio
import platformdirs
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table

from adapters.errors import AdapterError
from crdt_conv import CrdtConvError
from crdt_conv.store.lock import read_owner
from syncd.errors import StartError, SyncdError

_ANY_WIDTH = 100_000
_CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class Terminal(Console):
    """A console that shows what strangers and models wrote, and has no terminal obey it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render without control characters, but for what rich itself tells the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=segment.text.translate(_CONTROLS))


console = Terminal(highlight=False)
errors = Terminal(stderr=True, highlight=False)

_APP = "crdt-conv"


def default_db() -> Path:
    """Return where conversations are kept when nobody says otherwise."""
    return Path(platformdirs.user_data_dir(_APP, appauthor=False)) / "conversations.db"


def default_name() -> str:
    """Return the person's name for ``author``: ``CONV_NAME``, else the login."""
    try:
        return os.environ.get("CONV_NAME") or getpass.getuser()
    except (OSError, KeyError):
        return ""


def _db(context: typer.Context, path: Path) -> Path:
    """Take ``--db`` from before the command too, and make the default's folder."""
    given: Path | None = context.find_root().params.get("db")
    source = context.get_parameter_source("db")
    # By name: the enumeration is typer's own copy of click's.
    if given is not None and (source is None or source.name != "COMMANDLINE"):
        return given
    if path == default_db():
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


CONTEXT_TOKENS = 8192
ContextOption = Annotated[
    int,
    typer.Option(
        "--context", envvar="CONV_CONTEXT", min=256, help="How many tokens a local model reads and writes."
    ),
]
DbOption = Annotated[
    Path,
    typer.Option(
        "--db",
        envvar="CONV_DB",
        help="The store: a file, made where it is missing.",
        default_factory=default_db,
        show_default="conversations.db in the user data directory",
        callback=_db,
    ),
]
RootDbOption = Annotated[
    Path | None, typer.Option("--db", help="The store, for any command; it may stand behind the command too.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("crdt-conv"))
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version, and end."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def is_interactive() -> bool:
    """Whether a person is at a terminal, to be asked and to be shown."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def print_json(value: Any) -> None:
    """Print one JSON value for programs: never wrapped, never coloured."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def listing(*columns: str) -> Table:
    """Return an empty table whose first column is never cut: what stands there is typed again."""
    return Table(Column(columns[0], no_wrap=True), *columns[1:], box=None, header_style="dim")


def print_lines(rows: RenderableType) -> None:
    """Print a table or a picture; in a pipe every row is one line, however long."""
    wide = console if console.is_terminal else Terminal(highlight=False, width=_ANY_WIDTH)
    wide.print(rows)


def counted(count: int, what: str) -> str:
    """Return a number of things for people."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def published_url(db: Path) -> str:
    """
    Return where the daemon of a store is.

    Raises:
        StartError: None serves it.
    """
    owner = read_owner(db.resolve())
    if owner is None or not owner.url:
        raise StartError(f"no daemon serves {db}: start one with 'syncd serve'")
    return owner.url


def web_link(url: str, token: str) -> str:
    """
    Return the address that signs a browser in.

    The token stands in the fragment, which no browser sends: it is in no server's log, and in no ``Referer``.

    Args:
        url: Where the daemon is; if it listens on all addresses, the link goes to this machine.
        token: Whoever has the link may do what it allows.
    """
    parts = urlsplit(url)
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - it is told apart, not listened on
    here = everywhere.get(parts.hostname or "")
    if here is not None:
        parts = parts._replace(netloc=f"{here}:{parts.port}" if parts.port else here)
    path = f"{parts.path.rstrip('/')}/"
    return urlunsplit(parts._replace(path=path, query="", fragment=f"token={quote(token, safe='')}"))


def run_async(main: Callable[[], Coroutine[Any, Any, None]], *, is_server: bool = False) -> None:
    """
    Run a command that needs an event loop.

    Args:
        main: The command.
        is_server: Whether it has many sockets: then on uvloop, where that is installed.
    """
    anyio.run(main, backend_options={"use_uvloop": is_server and find_spec("uvloop") is not None})


def run_program(app: typer.Typer, name: str) -> NoReturn:
    """Run a program, and end the process as the rules above say."""
    is_debug = "--debug" in sys.argv or os.environ.get("CONV_DEBUG") == "1"
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        # Not as a program of its own: typer tells wrong usage in four lines.
        code = app(args=arguments, prog_name=name, default_map=_config(), standalone_mode=False)
    except SystemExit:
        raise
    except BaseException as error:  # the outermost border: whatever comes becomes one line
        if is_debug and not _is_wrong_usage(error):
            raise
        sys.exit(_fail(error))
    sys.exit(code if isinstance(code, int) else 0)


def _is_wrong_usage(error: BaseException) -> bool:
    # By what it has: typer brings a copy of click's errors along, in a module of its own.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _refuse(error: Any) -> int:
    """Say what is wrong in a command's words; returns the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        context = getattr(error, "ctx", None)
        hint = f": try '{context.command_path} --help'" if context is not None else ""
        text = f"error: {' '.join(error.format_message().split()).rstrip('.')}{hint}"
        errors.print(text, style="red", markup=False, soft_wrap=True)
    return int(error.exit_code)


def _fail(error: BaseException) -> int:
    """Say what went wrong; returns the exit code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, KeyboardInterrupt):
        errors.print("stopped", style="dim")
        return 130
    if isinstance(error, typer.Abort):
        errors.print("not done", style="dim")
        return 1
    if _is_wrong_usage(error):
        return _refuse(error)
    if isinstance(error, CrdtConvError | SyncdError | AdapterError | OSError):
        errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
    else:
        text = f"error: {type(error).__name__}: {error} (this is a fault of ours; --debug shows where)"
        errors.print(text, style="red", markup=False, soft_wrap=True)
    return 1


def _config() -> dict[str, Any]:
    given = os.environ.get("CONV_CONFIG")
    file = Path(given) if given else Path(platformdirs.user_config_dir(_APP, appauthor=False)) / "config.toml"
    try:
        config = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        errors.print(f"error: {file}: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(1)
    # Click reads defaults by command: what stands at the top counts for all of them.
    plain = {key: value for key, value in config.items() if not isinstance(value, dict)}
    return _ForEveryCommand(plain, config)


def config_table(context: typer.Context, name: str) -> dict[str, Any]:
    """Return a table of the configuration that is about no command; what stands elsewhere is not in it."""
    found = context.find_root().default_map
    return found.table(name) if isinstance(found, _ForEveryCommand) else {}


class _ForEveryCommand(dict[str, Any]):
    """A default map that answers for every command with the same settings, and a table's own on top."""

    def __init__(self, plain: dict[str, Any], config: dict[str, Any]) -> None:
        super().__init__(plain)
        self._tables = {key: value for key, value in config.items() if isinstance(value, dict)}

    def table(self, name: str) -> dict[str, Any]:
        """Return one table, as it stands in the file."""
        return dict(self._tables.get(name, {}))

    def get(self, key: str, default: Any = None) -> Any:
        if key in self:
            return self[key]
        return {**self, **self._tables.get(key, {})} or default
