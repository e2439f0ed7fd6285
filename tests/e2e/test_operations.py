"""What operators use, with the real daemon: its table, how it ends, and the files that start it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from crdt_conv import Store
from syncd.client import SyncClient
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
