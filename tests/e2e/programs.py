"""The real programs as processes, for the end-to-end tests. Whatever is started here is ended here."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crdt_conv import new_id
from syncd.auth import keys_file
from syncd.auth.keys import read_keys, rotate
from syncd.auth.tokens import issue

TOKEN = "end-to-end"
NODE = Path(__file__).parent / "node"


@dataclass
class Daemon:
    """A running ``syncd serve``."""

    process: subprocess.Popen[bytes]
    db: Path
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def ws(self) -> str:
        return self.url.replace("http", "ws", 1)


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what the programs see: a token of ours, and nobody's configuration and history."""
    ours = {"CONV_TOKEN": TOKEN, "CONV_CONFIG": os.devnull, "CONV_NAME": "ann", "CONV_HISTORY": os.devnull}
    return {**os.environ, **ours, **(environ or {})}


def serve_command(db: Path, *options: str) -> list[str]:
    """Return the command that serves a store."""
    return [sys.executable, "-m", "syncd", "serve", "--db", str(db), *options]


@contextmanager
def daemon(
    db: Path,
    *options: str,
    port: int = 0,
    log: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """Run the daemon until the block ends; SIGTERM ends it, if it is still there. ``log``: its stderr."""
    command = serve_command(db, "--port", str(port), "--json", *options)
    with ExitStack() as files:
        stderr = files.enter_context(log.open("wb")) if log is not None else None
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, env=environment(environ), start_new_session=True
        )
    try:
        ready = json.loads(read_line(process, 60))
        yield Daemon(process, db, ready["url"])
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started: nicely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def read_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Return the next line that a process prints; the process must not buffer."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
        if not ready:
            raise TimeoutError(f"no line in {timeout_s} s, only {line!r}")
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            raise EOFError(f"the process ended with {process.wait()}")
        line += byte
    return line


def conv(
    db: Path,
    *arguments: str,
    stdin: str = "",
    code: int = 0,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Run ``conv``, check its exit code, and return what it printed; with another code, its error."""
    command = [sys.executable, "-c", "from syncd.cli.conv import main; main()"]
    done = subprocess.run(
        [*command, "--db", str(db), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(environ),
        timeout=90,
        check=False,
    )
    assert done.returncode == code, f"exit code {done.returncode}: {done.stderr}"
    return done.stdout if code == 0 else done.stderr


def conv_json(db: Path, *arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> Any:
    """Run ``conv --json`` and return what it printed."""
    return json.loads(conv(db, *arguments, "--json", stdin=stdin, environ=environ))


def token_for(db: Path, sub: str, *, lifetime_s: float = 3600, **rights: str) -> str:
    """
    Return a token for a person, as ``syncd token`` makes it.

    Args:
        db: The daemon's store; a daemon that runs sees a first key at its next look, within a second.
        sub: Whose it is.
        lifetime_s: Seconds until it ends.
        rights: By conversation, ``read,write``; ``everywhere`` stands for ``*``.
    """
    given = {"*" if room == "everywhere" else room: said.split(",") for room, said in rights.items()}
    key = next(iter(read_keys(keys_file(db)).values()), None) or rotate(keys_file(db))
    return issue(key, sub, given, now_s=time.time(), lifetime_s=lifetime_s)


def syncd(db: Path, command: str, *arguments: str) -> str:
    """Run a short ``syncd`` command, which must end well, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "syncd", command, "--db", str(db), *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


DIALECTS = ("y-websocket", "hocuspocus-4", "hocuspocus-3")
HOCUSPOCUS = DIALECTS[1:]


class StockClient:
    """A stock client in Node: y-websocket, or Hocuspocus' provider in one of two versions."""

    def __init__(
        self,
        dialect: str,
        url: str,
        *rooms: str,
        token: str = TOKEN,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        command = ["node", str(NODE / "client.mjs"), dialect, url, token, *rooms]
        self.dialect = dialect
        self.room = rooms[0]
        self.events: list[Any] = []
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=NODE,
            env={**os.environ, **(environ or {})},
        )

    def do(self, command: str, **fields: object) -> Any:
        """Send a command and return its answer; events that come before it are kept."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **fields}).encode() + b"\n")
        self._process.stdin.flush()
        while "event" in (told := self._next()):
            self.events.append(told)
        return told

    def event(self, kind: str) -> Any:
        """Return the next event of a kind, and forget those before it."""
        while True:
            told = self.events.pop(0) if self.events else self._next()
            if told.get("event") == kind:
                return told

    def _next(self, timeout_s: float = 30) -> Any:
        return json.loads(read_line(self._process, timeout_s))

    def close(self) -> None:
        end(self._process)


Connect = Callable[..., StockClient]


def say(client: StockClient, text: str, *parents: str, room: int = 0) -> str:
    """Let a stock client write a message; returns its id."""
    message_id = new_id()
    client.do("append", id=message_id, parents=list(parents), role="user", text=text, room=room)
    return message_id


def heard(client: StockClient, count: int, room: int = 0) -> list[str]:
    """Wait until a stock client is in sync and has so many messages; returns what they say."""
    client.do("wait", messages=count, room=room)
    return [message["text"] for message in client.do("read", room=room)["messages"]]


def node_is_missing() -> str:
    """Return why the Node tests can't run here, or nothing."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (NODE / "node_modules").is_dir():
        return "the packages of tests/e2e/node are not installed: npm ci"
    return ""
