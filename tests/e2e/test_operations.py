"""What operators use, with the real daemon: its table, how it ends, and the files that start it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from crdt_conv import Store
from syncd.client import SyncClient
from syncd.protocol.frames import Update, encode_frame
from tests.e2e.programs import TOKEN, daemon, environment
from tests.replicas import replica

ROOT = Path(__file__).parents[2]


def syncd(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``syncd`` to its end."""
    command = [sys.executable, "-m", "syncd", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=60, check=False, cwd=ROOT
    )


def test_status_shows_a_daemon_that_runs(tmp_path: Path) -> None:
    """A table of what it does; without a daemon one clear line, and exit code 1."""
    db = tmp_path / "chats.db"
    with daemon(db, "--no-executor") as server:
        shown = syncd("status", "--db", str(db))
        assert (shown.returncode, shown.stderr) == (0, "")
        assert server.url in shown.stdout
        assert "updates on disk" in shown.stdout
        assert '"syncd_up": 1.0' in syncd("status", "--db", str(db), "--json").stdout
    ended = syncd("status", "--db", str(db))
    assert ended.returncode == 1
    assert "no daemon serves" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_daemon_that_is_told_to_end_drains(tmp_path: Path) -> None:
    """SIGTERM while a client writes: it ends by itself, and everything acknowledged is in the file."""
    db, conversation = tmp_path / "chats.db", replica()

    async def write() -> int:
        async with SyncClient(server.url, token=TOKEN) as client:
            await client.sync(conversation, timeout_s=20)
            for number in range(200):
                conversation.append("user", str(number))
                if number == 100:
                    server.process.send_signal(signal.SIGTERM)
                await anyio.sleep(0.002)
            while client.status(conversation).state != "offline":  # noqa: ASYNC110
                await anyio.sleep(0.01)
            return client.status(conversation).waiting

    with daemon(db, "--no-executor") as server:
        waiting = anyio.run(write)
        assert server.process.wait(20) == 0
    with Store(db) as store:
        stored = len(store.open("c").log().messages)
    assert stored >= 200 - waiting > 0


@pytest.mark.parametrize("file", ["crdt-conv.service", "Containerfile"])
def test_what_deploys_it_uses_options_that_it_knows(file: str) -> None:
    """Every option in the unit and the container file is in the help text."""
    text = (ROOT / "deploy" / file).read_text()
    line = next(line for line in text.splitlines() if line.startswith(("ExecStart=", "ENTRYPOINT")))
    options = set(re.findall(r"--[a-z-]+", line))
    assert {"--db", "--host", "--port"} <= options
    helped = syncd("serve", "--help").stdout
    assert all(option in helped for option in options)


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """While the first one waits for a request that does not end: gone, and what was acknowledged is there."""
    db, conversation = tmp_path / "chats.db", replica()
    conversation.append("user", "stored")

    async def write() -> None:
        async with SyncClient(server.url, token=TOKEN) as client:
            await client.sync(conversation, timeout_s=20)

    with daemon(db, "--no-executor") as server, socket.create_connection(("127.0.0.1", server.port)) as slow:
        anyio.run(write)
        # A body that never comes to its end keeps the first signal waiting.
        head = f"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        slow.sendall(f"{head}Content-Length: 9\r\n\r\n{{".encode())
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        while is_listening(server.port):
            pass
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(3) == 128 + signal.SIGTERM
    with Store(db) as store:
        assert len(store.open("c").log().messages) == 1


def is_listening(port: int) -> bool:
    """Whether anybody takes connections at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_under_load_it_ends_in_order_and_in_time(tmp_path: Path) -> None:
    """Many clients write when SIGTERM comes: told 1012, exit code 0, all that was acknowledged is there."""
    db = tmp_path / "chats.db"
    codes: list[int] = []
    stored: dict[str, int] = {}

    async def client(name: str) -> None:
        source = replica(name)
        updates: list[bytes] = []
        source.subscribe(lambda change: updates.append(change.update))
        stored[name] = 0
        url = f"{server.ws}/sync/{name}?token={TOKEN}"
        async with connect(url) as wire, anyio.create_task_group() as tasks:
            await wire.recv()

            async def write() -> None:
                while True:
                    source.append("user", "x" * 200)
                    await wire.send(encode_frame(Update(updates[-1])))
                    # As fast as the others let it.
                    await anyio.sleep(0.002)

            tasks.start_soon(write)
            try:
                async for frame in wire:
                    # The echo is the acknowledgement.
                    stored[name] += isinstance(frame, bytes)
            finally:
                codes.append(wire.close_code or 0)
                tasks.cancel_scope.cancel()

    async def load() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(quietly, client, f"c{number}")
            while sum(stored.values()) < 500:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)

    with daemon(db, "--no-executor") as server:
        anyio.run(load)
        assert server.process.wait(20) == 0
    assert codes == [1012] * 8
    with Store(db) as store:
        for name, count in stored.items():
            # One echo may stand for several updates, never for one that is not there.
            assert len(store.open(name).log().messages) >= count


async def quietly(client: Callable[[str], Awaitable[None]], name: str) -> None:
    """Run a client until the server ends it."""
    with suppress(ConnectionClosed, BaseExceptionGroup):
        await client(name)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Every directive is known, and is well formed."""
    unit = (ROOT / "deploy" / "crdt-conv.service").read_text()
    checked = tmp_path / "crdt-conv.service"
    # It must be there to be checked: any program is.
    checked.write_text(unit.replace("/opt/crdt-conv/bin/syncd", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(checked)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_container_s_health_check_tells_ready_from_not(tmp_path: Path) -> None:
    """Its own command, on the port that is served: 0 while it is ready, and not 0 when it is gone."""
    text = (ROOT / "deploy" / "Containerfile").read_text()
    check = json.loads(re.search(r"^HEALTHCHECK CMD (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        command = [sys.executable, *(part.replace("7878", str(server.port)) for part in check[1:])]
        assert subprocess.run(command, check=False, timeout=30).returncode == 0
    assert subprocess.run(command, check=False, timeout=30, stderr=subprocess.DEVNULL).returncode != 0
