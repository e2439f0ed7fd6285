"""The address that signs a browser in: printed by the daemon, and made for others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from tests.e2e.programs import (
    TOKEN,
    conv,
    daemon,
    end,
    environment,
    read_line,
    serve_command,
    syncd,
    token_for,
)


def serve(db: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a daemon that prints what people see."""
    command = serve_command(db, "--port", "0", "--no-executor", *options)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())


def lines(process: subprocess.Popen[bytes]) -> list[str]:
    """Return the two lines that say what is served, and where."""
    return [read_line(process, 60).decode().strip() for _ in range(2)]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_the_printed_address_opens_the_page(tmp_path: Path, host: str) -> None:
    """Signed in by its fragment, which is no part of what is asked for; the log holds no token."""
    process = serve(tmp_path / "chats.db", "--host", host)
    try:
        [_, address] = lines(process)
        where, _, fragment = address.partition("#")
        assert fragment == f"token={TOKEN}"
        assert where.startswith("http://[::1]:" if host == "::" else "http://127.0.0.1:")
        assert where.endswith("/")
        answer = httpx.get(address)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "'none'" in answer.headers["content-security-policy"]
    finally:
        process.terminate()
        _, logged = process.communicate(timeout=20)
        end(process)
    assert TOKEN.encode() not in logged


def test_programs_get_the_address_too(tmp_path: Path) -> None:
    """Beside what they got before; and nothing where no web client is served."""
    for options, has_web in (((), True), (("--no-web",), False)):
        process = serve(tmp_path / "chats.db", "--json", *options)
        try:
            told = json.loads(read_line(process, 60))
            assert told["token"] == TOKEN
            assert told["web"] == (f"{told['url']}/#token={TOKEN}" if has_web else None)
            assert httpx.get(told["url"]).text.startswith("crdt-conv: Yjs clients") is not has_web
        finally:
            end(process)


def test_a_link_for_somebody_else(tmp_path: Path) -> None:
    """It holds a token of that one's, and goes to the daemon that runs, or to where it is said to be."""
    # A daemon that runs would see its first key only at its next look.
    token_for(tmp_path / "chats.db", "nobody")
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        assert syncd(server.db, "token", "--link") == f"{server.url}/#token={TOKEN}"
        link = syncd(server.db, "token", "--sub", "phone", "--right", "*=read", "--link")
        where, _, token = link.partition("/#token=")
        assert where == server.url
        asked = httpx.get(f"{where}/api/conversations", headers={"Authorization": f"Bearer {unquote(token)}"})
        assert asked.status_code == 200
        behind = syncd(server.db, "token", "--at", "https://chat.example/crdt")
        assert behind == f"https://chat.example/crdt/#token={TOKEN}"


def test_without_a_daemon_there_is_no_link(tmp_path: Path) -> None:
    """One line that says what to do; and no key was made on the way."""
    db = tmp_path / "chats.db"
    command = [sys.executable, "-m", "syncd", "token", "--db", str(db), "--sub", "phone", "--link"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no daemon serves" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_printed_address_is_good_for_other_devices(tmp_path: Path) -> None:
    """What is copied from the terminal works for ``conv sync`` as well."""
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        conv(tmp_path / "phone.db", "new", "--title", "Trip")
        conv(tmp_path / "phone.db", "sync", f"{server.url}/#token={TOKEN}")
        assert "Trip" in conv(server.db, "ls")
