"""What goes wrong from the start: each one clear line, and nothing lost."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.programs import conv, conv_json, daemon, environment


def serve_fails(*options: str) -> str:
    """Run a daemon that can't start; returns its one line."""
    command = [sys.executable, "-m", "syncd", "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    return line


def test_an_unknown_conversation(tmp_path: Path) -> None:
    """Every command that takes an id names the one that is not there."""
    db = tmp_path / "chats.db"
    conv(db, "new")
    for command in (
        ["show", "nobody"],
        ["append", "nobody", "hi"],
        ["merge", "nobody", "b"],
        ["run", "nobody"],
    ):
        [line] = conv(db, *command, code=1).splitlines()
        assert line == "error: no conversation nobody in this store: 'conv ls' lists them"


def test_nothing_to_look_at(tmp_path: Path) -> None:
    """Without a store the list is empty, and showing says what to do; neither makes a file."""
    assert conv_json(tmp_path / "chats.db", "ls") == []
    assert "conv new" in conv(tmp_path / "chats.db", "show", "x", code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_second_daemon_on_the_same_store(tmp_path: Path) -> None:
    """The second says who the first is, and the first goes on."""
    with daemon(tmp_path / "chats.db", "--no-executor") as first:
        line = serve_fails("--db", str(first.db), "--port", "0", "--no-executor")
        assert f"in use by syncd serve (process {first.process.pid})" in line
        conv(first.db, "new")


def test_a_port_in_use(tmp_path: Path) -> None:
    """The line says which, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = serve_fails("--db", str(tmp_path / "chats.db"), "--port", port, "--no-executor")
    assert line == f"error: 127.0.0.1:{port} is in use: stop what listens there, or choose --port"


@pytest.mark.parametrize(("content", "says"), [(None, "can't read the model"), (b"GARBAGE", "no GGUF file")])
def test_a_model_that_is_none(tmp_path: Path, content: bytes | None, says: str) -> None:
    """A missing file and a file of something else are named, by both programs."""
    model = tmp_path / "model.gguf"
    if content is not None:
        model.write_bytes(content)
    assert says in serve_fails("--db", str(tmp_path / "chats.db"), "--port", "0", "--model", str(model))
    trip = conv_json(tmp_path / "chats.db", "new")["id"]
    conv(tmp_path / "chats.db", "append", trip, "hi")
    assert says in conv(tmp_path / "chats.db", "run", trip, "--model", str(model), code=1)


def test_a_daemon_that_is_not_there(tmp_path: Path) -> None:
    """Syncing with nobody is an error that says so; what was written waits."""
    db = tmp_path / "chats.db"
    trip = conv_json(db, "new")["id"]
    [line] = conv(db, "sync", "http://127.0.0.1:9", code=1).splitlines()
    assert "was not reached" in line
    assert "syncd serve" in line
    assert conv_json(db, "show", trip)["id"] == trip


def test_a_wrong_token(tmp_path: Path) -> None:
    """The line says what is wanted."""
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        line = conv(tmp_path / "other.db", "sync", server.url, "--token", "wrong", code=1)
    assert "wants a valid token" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["append"],
        ["show"],
        ["fork", "x"],
        ["new", "--nonsense"],
        ["nonsense"],
        ["run", "x", "--max-tokens", "0"],
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    """Wrong words end with 2 and say which, in one line, and where to read on."""
    (line,) = conv(tmp_path / "chats.db", *arguments, code=2).splitlines()
    assert line.startswith("error: ")
    assert "try 'conv" in line


def test_refusals_of_writing(tmp_path: Path) -> None:
    """An empty message, an unknown branch, a fork of nothing and a robot are each one line."""
    db = tmp_path / "chats.db"
    trip = conv_json(db, "new")["id"]
    for arguments, says in (
        (["append", trip, "  "], "the message is empty"),
        (["append", trip, "hi", "--branch", "x"], "no branch 'x'"),
        (["append", trip, "hi", "--role", "robot"], "no role 'robot'"),
        (["fork", trip, "--at", "x", "--branch", "b"], "no message x"),
        (["run", trip], "nothing to answer"),
        (["run", trip, "--adapter", "x"], "no adapter 'x'"),
    ):
        [line] = conv(db, *arguments, code=1).splitlines()
        assert says in line
    assert conv_json(db, "show", trip)["messages"] == []
