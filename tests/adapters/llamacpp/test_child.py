"""The child process by itself, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import ProviderUnavailable, StreamBroken
from adapters.llamacpp import child
from adapters.llamacpp.client import LlamaClient
from tests.adapters.llamacpp.live import Running, until

CHILD = str(child.__file__)
WANTED: dict[str, Any] = {
    "api_key": "key",
    "context_tokens": 256,
    "slots": 1,
    "threads": 1,
    "slot_save_path": None,
    "port": 0,
}
PARENT = """
import json, pathlib, sys, anyio
from adapters.llamacpp import LlamaServer

async def main():
    async with LlamaServer(pathlib.Path(sys.argv[1]), context_tokens=256, threads=1) as server:
        print(json.dumps(await server.url()), flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@contextmanager
def started(*command: str, **wanted: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process, and write the one line that the child reads."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps({**WANTED, **wanted}).encode() + b"\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[bytes]) -> Any:
    """Read the one line that the child answers."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def output(process: subprocess.Popen[bytes]) -> bytes:
    """Close its input, and return what it still wrote before it ended."""
    return process.communicate(timeout=10)[0]


def test_it_says_one_line_and_ends_with_its_input(model: Path) -> None:
    """Standard output is one line of JSON, whatever llama.cpp prints; closing the input is enough."""
    with started(sys.executable, "-P", CHILD, model=str(model)) as process:
        assert first_line(process)["url"].startswith("http://127.0.0.1:")
        assert output(process) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loading is finished first")
@pytest.mark.usefixtures("model")
def test_it_ends_with_its_input_while_it_loads(tmp_path: Path) -> None:
    """Though loading holds the interpreter, a child whose parent is gone does not go on with it."""
    endless = tmp_path / "endless.gguf"
    os.mkfifo(endless)
    # Opening waits until llama.cpp opens it too; then llama.cpp waits for bytes that never come.
    with (
        started(sys.executable, "-P", CHILD, model=str(endless)) as process,
        endless.open("wb", buffering=0),
    ):
        # What loading failed with may have been said before the end was noticed.
        assert b"url" not in output(process)


def test_a_missing_extra_is_named() -> None:
    """Without xllamacpp the answer says what to install."""
    with started(sys.executable, "-I", "-S", CHILD, model="any.gguf") as process:
        assert first_line(process) == {"error": "llama.cpp is not installed: pip install 'crdt-conv[local]'"}
        assert process.wait(10) == 1


async def is_gone(url: str) -> bool:
    """Whether nobody listens there."""
    llama = LlamaClient(url)
    try:
        return not await llama.health()
    except ProviderUnavailable:
        return True
    except StreamBroken:
        # It took the connection and died; the next look will tell.
        return False
    finally:
        await llama.aclose()


@pytest.mark.anyio
async def test_it_ends_with_a_parent_that_was_killed(model: Path) -> None:
    """SIGKILL gives the parent no chance to clean up, and none is needed."""
    with started(sys.executable, "-c", PARENT, str(model)) as parent:
        url = first_line(parent)
        assert not await is_gone(url)
        parent.kill()

    await until(lambda: is_gone(url))


@pytest.mark.anyio
async def test_ctrl_c_is_the_parents(running: Running) -> None:
    """A terminal's interrupt does not end the model."""
    os.kill(running.pid, signal.SIGINT)
    llama = LlamaClient(running.url, running.api_key)
    assert await llama.tokenize("still here")
    await llama.aclose()
