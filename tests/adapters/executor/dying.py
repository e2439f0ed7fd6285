"""An executor in a process of its own, that dies by SIGKILL in the middle of a tool."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio

from adapters import Executor, FunctionTool, OpenAIChat
from crdt_conv import Store


def booking(file: Path, *, is_deadly: bool, is_repeatable: bool) -> FunctionTool:
    """Return a tool that leaves a line in a file, and kills its process after that."""

    def book(seat: str) -> str:
        with file.open("a") as lines:
            lines.write(f"{seat}\n")
        if is_deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"booked {seat}"

    return FunctionTool(book, is_repeatable=is_repeatable)


def adapter(url: str) -> OpenAIChat:
    """Return the adapter for a server."""
    return OpenAIChat("m", base_url=f"{url}/v1", api_key="k")


async def main(db: str, url: str, how: str) -> None:
    """Fulfil what is asked for, until the tool kills this."""
    tool = booking(Path(db).with_suffix(".booked"), is_deadly=True, is_repeatable=how == "repeatable")
    with Store(db) as store:
        async with Executor(store, [adapter(url)], tools=[tool], ttl_s=1.0, renew_s=0.3) as executor:
            for listed in store.list():
                executor.offer(store.open(listed.id))
            await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
