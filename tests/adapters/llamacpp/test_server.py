"""The supervised server with a real model."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from adapters.errors import ModelUnavailable
from adapters.llamacpp import LlamaServer
from adapters.llamacpp import server as module
from adapters.llamacpp.client import LlamaClient
from tests.adapters.llamacpp.live import until

pytestmark = pytest.mark.anyio


def small(model: Path) -> LlamaServer:
    """Return a server that starts quickly."""
    return LlamaServer(model, context_tokens=256, threads=1)


async def speaks(server: LlamaServer) -> bool:
    """Whether it answers to its key."""
    llama = LlamaClient(await server.url(), server.api_key)
    body = {"prompt": "One,", "n_predict": 1, "stream": True}
    events = [event async for event in llama.stream("/completion", body)]
    await llama.aclose()
    return bool(events[-1]["stop"])


async def kill(server: LlamaServer) -> None:
    """End its process as the system would, and wait until that was noticed."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)

    async def was_noticed() -> bool:
        return server.state != "ready"

    await until(was_noticed)


def is_there(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_killed_child_comes_back(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for the address meanwhile waits, and finds a server that works with the same key."""
    monkeypatch.setattr(module, "MAX_RESTARTS", 1)
    async with small(model) as server:
        first = server.pid
        await kill(server)
        states = [server.state]
        assert await speaks(server)
        assert [*states, server.state] == ["restarting", "ready"]
        assert server.pid not in {None, first}


async def test_a_child_that_does_not_come_back_is_given_up(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the model is gone too, who waits is told, in a line."""
    monkeypatch.setattr(module, "MAX_RESTARTS", 2)
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0.01)
    link = tmp_path / "model.gguf"
    link.symlink_to(model)
    async with small(link) as server:
        link.unlink()
        await kill(server)
        with pytest.raises(ModelUnavailable, match=r"does not come back: .*model\.gguf") as raised:
            await server.url()
        assert "\n" not in str(raised.value)
        assert (server.state, server.pid) == ("failed", None)


async def test_leaving_ends_the_child_though_the_task_is_cancelled(model: Path) -> None:
    """Cancelling whoever holds the server leaves no process behind."""
    with anyio.CancelScope() as scope:
        async with small(model) as server:
            pid = server.pid
            scope.cancel()
            await anyio.sleep_forever()
    assert pid is not None
    assert not is_there(pid)


@pytest.mark.parametrize("length", [4, 3_000_000])
async def test_a_model_that_is_cut_off_is_one_clear_line(model: Path, tmp_path: Path, length: int) -> None:
    """A download that broke off fails at once, and says that and why."""
    cut = tmp_path / "cut.gguf"
    with model.open("rb") as whole:
        cut.write_bytes(whole.read(length))
    with pytest.raises(ModelUnavailable, match=r"can't load .*cut\.gguf: \w") as raised, anyio.fail_after(10):
        async with small(cut):
            pass
    assert "\n" not in str(raised.value)
    assert "check the input params" not in str(raised.value)


@pytest.mark.usefixtures("model")
async def test_garbage_behind_the_magic_is_no_model(tmp_path: Path) -> None:
    """What only begins like a GGUF file is refused by llama.cpp, quickly."""
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"GGUF" + bytes(range(256)) * 100)
    with pytest.raises(ModelUnavailable, match=r"can't load .*garbage\.gguf"), anyio.fail_after(10):
        async with small(garbage):
            pass


async def test_a_missing_file_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at before any process is made."""
    monkeypatch.setattr(module, "_COMMAND", ("/no/such/program",))
    server = small(tmp_path / "missing.gguf")
    with pytest.raises(ModelUnavailable, match=r"can't read the model .*missing\.gguf"):
        await server.__aenter__()


@pytest.mark.usefixtures("model")
async def test_a_folder_named_like_ours_is_not_run(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the working folder becomes part of the child."""
    folder = fake_model.parent
    for name in ("adapters", "xllamacpp", "json"):
        (folder / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(ModelUnavailable, match="can't load"):
        await small(fake_model).__aenter__()


@pytest.mark.skipif(sys.platform != "linux", reason="counts processes through /proc")
@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 13, 21, None])
async def test_cancelled_while_starting(model: Path, turns: int | None) -> None:
    """At whatever turn of the event loop starting is given up, no process stays."""
    before, server = children(), small(model)

    async def has_child() -> bool:
        return server.pid is not None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.__aenter__)
        for _ in range(turns or 0):
            await anyio.lowlevel.checkpoint()
        if turns is None:
            await until(has_child)
        tasks.cancel_scope.cancel()
    assert children() <= before


def children() -> set[str]:
    """Return the ids of all processes that this one has started and not seen the end of."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for path in tasks if path.exists() for pid in path.read_text().split()}
