"""The servers: how each is started, and where its clients connect."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

PEERS = Path(__file__).parent / "peers"
TICKS = 1e9
SERVER_CORE, CLIENT_CORE = 0, 1


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str
    """Of a socket, with ``{room}`` where the room's name stands, if it does."""
    is_hocuspocus: bool
    token: str
    folder: Path

    def cpu_s(self) -> float:
        """Return the seconds of CPU that all its threads took."""
        folder = Path(f"/proc/{self.process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in folder.iterdir()) / TICKS

    def memory_kb(self) -> int:
        """Return its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def disk_bytes(self) -> int:
        """Return what its files take."""
        files = [file for file in self.folder.rglob("*") if file.is_file() and file.name != "errors.log"]
        return sum(file.stat().st_size for file in files)

    def compact(self) -> None:
        """Have the server compact what it keeps, where it can be asked to."""
        if self.path.startswith(("/sync", "/collab")):
            url, told = f"http://127.0.0.1:{self.port}/api/admin/compact", f"Bearer {self.token}"
            httpx.post(url, headers={"Authorization": told}, timeout=60).raise_for_status()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(name: str, folder: Path, port: int = 0) -> Iterator[Running]:
    """Run a server on a core of its own until the block ends; it goes on with what is in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    commands = {
        "ours": [
            *(sys.executable, "-m", "syncd", "serve", "--no-executor", "--json"),
            *("--db", str(folder / "ours.db"), "--port", str(port)),
        ],
        "hocuspocus": ["node", str(PEERS / "hocuspocus.mjs"), str(port), str(folder / "h.db"), "default"],
        "hocuspocus durable": [
            "node",
            str(PEERS / "hocuspocus.mjs"),
            str(port),
            str(folder / "h.db"),
            "durable",
        ],
        "y-websocket": ["node", str(PEERS / "node_modules/y-websocket/bin/server.cjs")],
        "y-websocket stored": ["node", str(PEERS / "node_modules/y-websocket/bin/server.cjs")],
        "pycrdt-websocket": [
            sys.executable,
            str(PEERS / "pycrdt_server.py"),
            str(port),
            str(folder / "p.db"),
        ],
    }
    kind = name.removesuffix(" (collab)")
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "CONV_TOKEN": "bench"}
    if kind == "y-websocket stored":
        environment["YPERSISTENCE"] = str(folder / "leveldb")
    with (folder / "errors.log").open("ab") as errors:
        process = subprocess.Popen(
            commands[kind],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=PEERS,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )
    try:
        _wait_for(process, port)
        is_hocuspocus = kind.startswith("hocuspocus") or name.endswith("(collab)")
        path = "/collab" if name.endswith("(collab)") else "/" if is_hocuspocus else "/{room}"
        if name == "ours":
            path = "/sync/{room}?token=bench"
        yield Running(name, process, port, path, is_hocuspocus, "bench", folder)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server does not listen")


def versions() -> dict[str, str]:
    """Return the peers' versions as they are installed."""
    lock = json.loads((PEERS / "package-lock.json").read_text())["packages"]
    return {
        name: lock[f"node_modules/{name}"]["version"]
        for name in ("@hocuspocus/server", "@hocuspocus/extension-sqlite", "y-websocket")
    }
