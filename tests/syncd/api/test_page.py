"""The examples of ``docs/http.md`` are true."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from starlette.applications import Starlette

from tests.pages import DOCS, commands, run_console
from tests.syncd.api.conftest import TOKEN, served

PAGE = DOCS / "http.md"
TOOLS = ("bash", "curl", "sha256sum")


@pytest.mark.anyio
@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")
async def test_examples_are_true(app: Starlette, tmp_path: Path) -> None:
    """Each command prints what stands below it; ``...`` is anything."""
    async with served(app) as url:
        await run_console(PAGE, tmp_path, {"URL": url, "TOKEN": TOKEN})


def test_there_are_examples() -> None:
    """The check above looks at something."""
    assert len(commands(PAGE)) > 10
