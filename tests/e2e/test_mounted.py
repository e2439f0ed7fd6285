"""The example of an application with users of its own, as a process, and stock clients with its cookies."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.e2e.programs import StockClient, end, environment, node_is_missing

pytestmark = pytest.mark.skipif(bool(node_is_missing()), reason=node_is_missing())

ROOT = Path(__file__).parents[2]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Run the application as its docstring says, in a folder of its own; returns where it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "uvicorn", "--factory", "examples.mounted:create"]
        process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno()), "--log-level", "error"],
            cwd=tmp_path,
            env={**environment(), "PYTHONPATH": str(ROOT)},
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            end(process)


def test_a_user_s_rights_change_while_it_is_connected(address: str, dialect: str) -> None:
    """A reader's writing is refused, taken once it may write, refused again; and then it is let go."""
    bob_s = f"http://{address}/rooms/trip/members/bob"
    with ExitStack() as ends:
        ann, bob = (
            StockClient(dialect, f"ws://{address}/crdt", "trip", token="", environ={"COOKIE": f"user={user}"})
            for user in ("ann", "bob")
        )
        for client in (ann, bob):
            ends.callback(client.close)
            client.do("wait", messages=0)
        refused = "warned" if dialect == "y-websocket" else "stateless"
        bob.do("type", text="x")
        bob.event(refused)
        assert ann.do("state")["text"] == ""
        httpx.put(bob_s, json=["write"], timeout=20).raise_for_status()
        ann.do("typed", length=1)
        bob.do("settled")
        httpx.put(bob_s, json=["read"], timeout=20).raise_for_status()
        bob.do("type", text="y")
        bob.event(refused)
        httpx.delete(bob_s, timeout=20).raise_for_status()
        bob.event("closed" if dialect == "y-websocket" else "denied")
        assert bob.do("state")["stopped"]
        ann.do("type", text="z")
        ann.do("settled")
        assert ann.do("state")["text"] == "zx"
