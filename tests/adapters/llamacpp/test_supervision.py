"""Supervision at its edges, with small programs in the child's place."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import anyio
import pytest

from adapters.errors import ModelUnavailable
from adapters.llamacpp import LlamaServer
from adapters.llamacpp import server as module
from tests.adapters.llamacpp.live import until

pytestmark = pytest.mark.anyio

READY = """print('{"url": "http://127.0.0.1:9"}', flush=True);"""
REFUSES = """print('{"error": "Failed to init server"}', flush=True);"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Quick limits."""
    for name, value in {"START_S": 10.0, "STOP_S": 0.2, "FIRST_DELAY_S": 0.01, "MAX_RESTARTS": 1}.items():
        monkeypatch.setattr(module, name, value)
    return monkeypatch


def behave(patch: pytest.MonkeyPatch, code: str) -> None:
    """Run this code as the child, once it has read its line."""
    program = f"import os, sys, time; sys.stdin.readline(); {code}"
    patch.setattr(module, "_COMMAND", (sys.executable, "-I", "-S", "-c", program))


async def kill(server: LlamaServer) -> None:
    """End its process, and wait until that was noticed."""
    assert server._child is not None
    child = server._child
    child.process.kill()

    async def was_noticed() -> bool:
        return server._child is not child

    await until(was_noticed)


async def failure(model: Path) -> str:
    """Return why a server does not start; nothing is left of it."""
    server = LlamaServer(model)
    with pytest.raises(ModelUnavailable) as raised:
        await server.__aenter__()
    assert server.pid is None
    return str(raised.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("os._exit(3)", "llama.cpp ended with code 3 while it loaded"),
        ("os.abort()", "llama.cpp was killed by SIGABRT while it loaded"),
        (REFUSES, "Failed to init server"),
    ],
)
async def test_a_child_that_dies_is_explained(
    fake_model: Path, run: pytest.MonkeyPatch, code: str, expected: str
) -> None:
    """Without a word from llama.cpp, how it ended is all there is to say."""
    behave(run, code)
    assert expected in await failure(fake_model)


async def test_the_cause_is_the_first_error_in_the_log(fake_model: Path, run: pytest.MonkeyPatch) -> None:
    """Later lines tell only what failed by it, and a line may come in pieces."""
    log = "for piece in ('0.1 I fine\\n0.2 E the ca', 'use\\n0.3 E later\\n'): os.write(2, piece.encode())"
    behave(run, f"exec({log!r}); {REFUSES}")
    assert (await failure(fake_model)).endswith("fake.gguf: the cause")


async def test_a_child_that_never_answers_is_killed(fake_model: Path, run: pytest.MonkeyPatch) -> None:
    """Neither loading nor stopping may take forever."""
    behave(run, "time.sleep(600)")
    run.setattr(module, "START_S", 0.3)
    with anyio.fail_after(10):
        assert "did not load" in await failure(fake_model)


async def test_no_process_at_all_is_explained(fake_model: Path, run: pytest.MonkeyPatch) -> None:
    """What the system says is mapped too."""
    run.setattr(module, "_COMMAND", ("/no/such/program",))
    assert "no process for llama.cpp: No such file" in await failure(fake_model)


async def test_words_after_loading_are_in_no_error(fake_model: Path, run: pytest.MonkeyPatch) -> None:
    """They may be about a conversation."""
    behave(run, f"{READY} sys.stdin.read(1); os.write(2, b'0.9 E my PIN is 4711\\n'); os._exit(3)")
    run.setattr(module, "MAX_RESTARTS", 0)
    async with LlamaServer(fake_model) as server:
        assert server._child is not None
        assert server._child.process.stdin is not None
        await server._child.process.stdin.send(b"x")
        await server._child.process.wait()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ModelUnavailable, match=r"does not come back: it ended with code 3$"):
            await server.url()


async def test_a_log_without_end_does_not_block_the_child(fake_model: Path, run: pytest.MonkeyPatch) -> None:
    """More than a pipe holds is read while nobody asks for it."""
    behave(run, "os.write(2, b'x' * 1_000_000);" + READY + "sys.stdin.read()")
    with anyio.fail_after(10):
        async with LlamaServer(fake_model) as server:
            assert await server.url() == "http://127.0.0.1:9"


@pytest.mark.parametrize(("healthy_s", "comes_back"), [(0.0, True), (60.0, False)])
async def test_health_forgives_restarts(
    fake_model: Path, run: pytest.MonkeyPatch, *, healthy_s: float, comes_back: bool
) -> None:
    """After a time of health the restarts before it do not count."""
    behave(run, READY + "sys.stdin.read()")
    run.setattr(module, "HEALTHY_S", healthy_s)
    async with LlamaServer(fake_model) as server:
        await server.url()
        await kill(server)
        await server.url()
        await kill(server)
        with nullcontext() if comes_back else pytest.raises(ModelUnavailable, match="does not come back"):
            await server.url()


def test_restarts_wait_longer_and_longer() -> None:
    """Twice as long each time, up to half a minute."""
    delays = [module.restart_delay_s(restarts) for restarts in range(9)]
    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
