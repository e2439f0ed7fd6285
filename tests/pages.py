"""Pages of the documentation: their blocks of code, and console sessions that are run and compared."""

from __future__ import annotations

import doctest
import re
from collections.abc import Mapping
from pathlib import Path

import anyio

DOCS = Path(__file__).parent.parent / "docs"
_MARKER = "=== the end of one example ==="


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page that are in a language, as they stand."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[tuple[str, str]]:
    """Return each command of a page's console blocks with what it prints."""
    parts = (re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] for block in blocks(page, "console"))
    pairs = [part.partition("\n") for session in parts for part in session]
    return [(command, printed) for command, _, printed in pairs]


async def run_console(page: Path, folder: Path, environ: Mapping[str, str]) -> None:
    """
    Run the commands of a page in one shell, and compare what each prints; ``...`` is anything.

    Args:
        page: The page.
        folder: Where the shell begins, and what it takes for its home.
        environ: All that the shell knows beside that.
    """
    lines = "".join(f"{command}\necho\necho '{_MARKER}'\n" for command, _ in commands(page))
    done = await anyio.run_process(
        ["bash"],
        input=f"shopt -s expand_aliases\n{lines}".encode(),
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder), **environ},
        cwd=folder,
    )
    assert not done.stderr, done.stderr.decode()
    printed = done.stdout.decode().split(f"{_MARKER}\n")
    check = doctest.OutputChecker().check_output
    for (command, expected), got in zip(commands(page), printed, strict=False):
        # A picture's lines end in blanks that nobody sees.
        told = "\n".join(line.rstrip() for line in got.strip().splitlines())
        assert check(f"{expected.strip()}\n", f"{told}\n", doctest.ELLIPSIS), (command, got)
