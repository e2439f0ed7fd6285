"""The guides, as a newcomer tries them: the real programs, the real model, stock clients in Node."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from adapters import AdapterError, find_model
from tests.e2e.programs import (
    NODE,
    TOKEN,
    Daemon,
    conv,
    conv_json,
    daemon,
    end,
    environment,
    node_is_missing,
)
from tests.pages import DOCS, blocks, commands, run_console

ROOT = DOCS.parent
STARTED = DOCS / "getting-started.md"
EMBEDDING = DOCS / "embedding.md"
BROWSER = DOCS / "browser.md"


def model_is_missing() -> str:
    """Return why no model answers here, or nothing."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "llama.cpp is not installed: make install"
    try:
        find_model()
    except AdapterError as error:
        return str(error)
    return ""


needs_model = pytest.mark.skipif(bool(model_is_missing()), reason=model_is_missing())
needs_node = pytest.mark.skipif(bool(node_is_missing()), reason=node_is_missing())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon that answers."""
    with daemon(tmp_path_factory.mktemp("server") / "server.db") as running:
        yield running


@needs_model
@pytest.mark.anyio
@pytest.mark.timeout(300)  # Fifteen programs, one after another: each takes a second where nothing else runs.
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
async def test_getting_started(server: Daemon, tmp_path: Path) -> None:
    """Each command of the first page prints what stands below it."""
    programs = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "CONV_CONFIG": os.devnull,
        "COLUMNS": "400",
    }
    assert len(commands(STARTED)) > 10
    await run_console(STARTED, tmp_path, {**programs, "URL": server.url, "TOKEN": TOKEN})


@needs_model
@pytest.mark.timeout(300)  # So small a model may talk until its context is full.
def test_the_library_s_lines_run(tmp_path: Path) -> None:
    """The program of the README prints an answer, keeps it, and is the one of the first page."""
    program = next(block for block in blocks(ROOT / "README.md", "python") if "Executor" in block)
    assert blocks(STARTED, "python") == [program]
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert (done.returncode, bool(done.stdout.strip())) == (0, True), done.stderr
    (listed,) = conv_json(tmp_path / "chats.db", "ls")
    asked, answered = conv_json(tmp_path / "chats.db", "show", listed["id"])["messages"]
    assert (asked["text"], answered["text"]) == ("Where shall we go?", done.stdout)


def test_the_client_s_lines_run(server: Daemon, tmp_path: Path) -> None:
    """The README's lines about a second device bring a conversation to the daemon."""
    lines = next(block for block in blocks(ROOT / "README.md", "python") if "SyncClient" in block)
    there = lines.replace("http://127.0.0.1:7878", server.url).replace('"..."', f'"{TOKEN}"')
    imported, _, body = there.partition("\n")
    program = f"""
import anyio
from crdt_conv import Store
{imported}


async def main():
    conv = Store("chats.db").create(title="Trip")
    conv.append("user", "Where shall we go?")
    print(conv.id)
{textwrap.indent(body, "    ")}

anyio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    where = f"{server.url}/api/conversations/{done.stdout.strip()}"
    shown = httpx.get(where, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20).json()
    assert [message["text"] for message in shown["messages"]] == ["Where shall we go?"]


def program_in_node(number: int, url: str, room: str) -> str:
    """Return a program of the browser's page: its blocks, what the page knows, and a browser's sockets."""
    known = {"URL": url, "TOKEN": TOKEN, "ROOM": room}
    given = "".join(f"const {name} = {json.dumps(value)}\n" for name, value in known.items())
    code = blocks(BROWSER, "js")
    # The second goes on with what the first began.
    program = ["\n".join(code[:2]), code[2]][number]
    # A page has no end; y-websocket's timers would keep Node.
    return (
        f"import WebSocket from 'ws'\nglobalThis.WebSocket = WebSocket\n{given}{program}\nprocess.exit(0)\n"
    )


def in_node(program: str) -> str:
    """Run a program as a module beside the stock clients, and return what it printed."""
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", program],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_model
@needs_node
def test_a_browser_client(server: Daemon, tmp_path: Path) -> None:
    """What the page's client writes is read and answered; its y-websocket twin reads all of it."""
    room, db = conv_json(tmp_path / "ann.db", "new")["id"], tmp_path / "ann.db"
    conv(db, "append", room, "Hello.")
    conv(db, "sync", server.url)
    answer = in_node(program_in_node(0, server.ws, room)).rstrip("\n")
    conv(db, "sync", server.url)
    shown = conv_json(db, "show", room)
    assert [message["text"] for message in shown["messages"][:2]] == ["Hello.", "Where shall we go?"]
    assert shown["messages"][2]["text"].rstrip("\n") == answer
    assert [message["parents"] for message in shown["messages"]] == [
        [],
        *([message["id"]] for message in shown["messages"][:-1]),
    ]
    assert conv(db, "verify", room).startswith("3 messages, nothing is wrong")
    lines = in_node(program_in_node(1, server.ws, room))
    assert all(f"{message['role']} {message['text']}" in lines for message in shown["messages"])


@contextmanager
def application(folder: Path) -> Iterator[str]:
    """Run the page's program as a user's own; yields where it is."""
    (folder / "backend.py").write_text(blocks(EMBEDDING, "python")[0])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                "backend:app",
                "--fd",
                str(listener.fileno()),
                "--log-level",
                "error",
            ],
            cwd=folder,
            env=environment(),
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            end(process)


@pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="FastAPI is missing: make install")
def test_in_an_application_of_fastapi(tmp_path: Path) -> None:
    """A member writes, a reader reads and no more, a stranger and who was taken out get nothing."""

    def ask(user: str, method: str = "GET", path: str = "/trip", **body: object) -> int:
        headers = {"authorization": f"Bearer secret-of-{user}"} if user else {}
        where = f"{url}/crdt/api/conversations{path}"
        return httpx.request(method, where, json=body or None, headers=headers, timeout=20).status_code

    def say(user: str) -> int:
        return ask(user, "POST", "/trip/messages", role="user", text=f"I am {user}")

    with application(tmp_path) as url:
        assert ask("ann", "POST", "", id="trip") == 201
        assert [say("ann"), say("bob"), say("eve"), say("")] == [201, 403, 403, 401]
        assert [ask("ann"), ask("bob"), ask("eve")] == [200, 200, 403]
        httpx.delete(f"{url}/rooms/trip/members/bob", timeout=20).raise_for_status()
        assert [ask("ann"), ask("bob")] == [200, 403]
    shown = conv_json(tmp_path / "chats.db", "show", "trip")
    assert [message["text"] for message in shown["messages"]] == ["I am ann"]
