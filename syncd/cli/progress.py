"""A bar for work that takes a while: on a terminal, on standard error, and gone when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from syncd.cli.common import errors


@contextmanager
def bar(text: str, *, of_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield what is to be told how much is done, of how much."""
    amount = DownloadColumn() if of_bytes else MofNCompleteColumn()
    # What is worked on may be a file, whose name is no markup.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
