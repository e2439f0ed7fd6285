"""What tests with a real server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import anyio


class Running(NamedTuple):
    """A server that runs during the whole session."""

    url: str
    api_key: str
    pid: int
    slots_folder: Path


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait for what another process does: nothing but looking can tell."""
    with anyio.fail_after(seconds):
        while not await is_so():  # noqa: ASYNC110 - no event of ours comes with it
            await anyio.sleep(0.01)
