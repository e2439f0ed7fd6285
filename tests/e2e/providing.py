"""
A strict local provider in a thread of its own, a configuration with the test's MCP server, and ``conv`` here.

``conv`` runs in this process, as ``main`` does it: what starts a process is seldom what is tested, and each
takes more than a second of CPU.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from anyio.from_thread import start_blocking_portal

from syncd.cli.conv import main
from tests.e2e.programs import environment
from tests.providers.ollama import OllamaServer
from tests.providers.serving import Answer, Cut, Refusal, serving

SERVER = Path(__file__).parent.parent / "adapters" / "tools" / "serving_mcp.py"
DELETES = Answer("", calls=[("files_delete", '{"path":"a"}')])
ADDS = Answer("", calls=[("add", '{"a":1,"b":2}')])


@contextmanager
def provider(*script: Answer | Refusal | Cut) -> Iterator[tuple[OllamaServer, str]]:
    """Serve Ollama's API; yields the server and its URL."""
    server = OllamaServer(*script)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(server)) as url:
        yield server, url


def configured(folder: Path, more: str = "") -> dict[str, str]:
    """Write a configuration with one MCP server; returns what the environment says of it."""
    file = folder / "config.toml"
    server = f'[mcp.test]\ncommand = "{sys.executable}"\nargs = ["{SERVER}"]\n'
    file.write_text(f'{server}needs_approval = ["files.delete"]\n{more}')
    return {"CONV_CONFIG": str(file)}


def asking(url: str) -> tuple[str, ...]:
    """Return the flags that ask the provider."""
    return ("--adapter", "ollama", "--model", "m", "--endpoint", url)


def conv(
    db: Path, *arguments: str, stdin: str = "", code: int = 0, environ: Mapping[str, str] | None = None
) -> str:
    """Run ``conv``, check its exit code, and return what it printed; with another code, its error."""
    out, err, typed = io.StringIO(), io.StringIO(), io.StringIO(stdin)
    given = patch.dict("os.environ", environment(environ), clear=True)
    words = patch.multiple("sys", argv=["conv", "--db", str(db), *arguments], stdin=typed)
    ended: int | str | None = None
    with given, words, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            ended = end.code
    assert ended == code, f"exit code {ended}: {err.getvalue()}"
    return out.getvalue() if code == 0 else err.getvalue()


def conv_json(db: Path, *arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> Any:
    """Run ``conv --json`` and return what it printed."""
    return json.loads(conv(db, *arguments, "--json", stdin=stdin, environ=environ))
