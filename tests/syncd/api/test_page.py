"""The examples of ``docs/http.md`` are true."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette

from tests.syncd.api.conftest import TOKEN, served

PAGE = Path(__file__).parents[3] / "docs" / "http.md"
TOOLS = ("bash", "curl", "sha256sum")


def examples() -> list[tuple[str, str]]:
    """Return each command of the page with what it prints."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    commands = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    pairs = [command.partition("\n") for command in commands]
    return [(command, printed) for command, _, printed in pairs]


@pytest.mark.anyio
@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")
async def test_examples_are_true(app: Starlette, tmp_path: Path) -> None:
    """Each command prints what stands below it; ``...`` is anything."""
    marker = "=== the end of one example ==="
    commands = "".join(f"{command}\necho\necho '{marker}'\n" for command, _ in examples())
    async with served(app) as url:
        done = await anyio.run_process(
            ["bash"],
            input=f"shopt -s expand_aliases\n{commands}".encode(),
            env={"URL": url, "TOKEN": TOKEN, "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(tmp_path)},
            cwd=tmp_path,
        )
    printed = done.stdout.decode().split(f"{marker}\n")
    assert done.stderr == b""
    checker = doctest.OutputChecker()
    for (command, expected), got in zip(examples(), printed, strict=False):
        assert checker.check_output(f"{expected.strip()}\n", f"{got.strip()}\n", doctest.ELLIPSIS), (
            command,
            got,
        )


def test_there_are_examples() -> None:
    """The check above looks at something."""
    assert len(examples()) > 10
