"""What waits for a daemon survives everything on the device, and people and programs see it: ``conv``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

from crdt_conv import Store
from tests.e2e.programs import TOKEN, Daemon, conv, conv_json, daemon, end, environment, read_line
from tests.replicas import texts
from tests.syncd.servers import free_port


def watching(db: Path, url: str) -> subprocess.Popen[bytes]:
    """Run ``conv sync --watch --json``."""
    command = [sys.executable, "-c", "from syncd.cli.conv import main; main()", "--db", str(db)]
    return subprocess.Popen(
        [*command, "sync", url, "--token", TOKEN, "--watch", "--json"],
        stdout=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )


def said_at(server: Daemon) -> list[str]:
    """Return what a daemon's one conversation says."""
    with Store(server.db, read_only=True) as store:
        return texts(store.open(store.list()[0].id).log().messages)


def test_the_outbox_survives_a_kill(tmp_path: Path) -> None:
    """Killed while it sends: what was not acknowledged waits in the store, is counted, and goes out later."""
    db, port = tmp_path / "device.db", free_port()
    url = f"http://127.0.0.1:{port}"
    conversation = conv_json(db, "new", "--title", "Trip")["id"]
    for number in range(3):
        conv(db, "append", conversation, f"offline {number}")
    watcher = watching(db, url)
    try:
        # It is there, and nobody to talk to.
        while json.loads(read_line(watcher, 60))["state"] != "offline":
            pass
    finally:
        watcher.kill()
        end(watcher)
    with daemon(tmp_path / "daemon.db", "--no-executor", port=port) as server:
        told = conv_json(db, "sync", url, "--token", TOKEN)
        assert told == {"url": url, "synced": [conversation], "deleted": [], "refused": {}}
        assert said_at(server) == [f"offline {number}" for number in range(3)]
    assert conv_json(db, "status")["peers"] == [{"url": url, "waiting": 0}]
    conv(db, "append", conversation, "later")
    assert conv_json(db, "status") == {
        "db": str(db),
        "daemon": None,
        "conversations": 1,
        "peers": [{"url": url, "waiting": 1}],
    }
    assert "1" in conv(db, "status").splitlines()[-1]


def test_a_program_watches_it_come_in_sync(tmp_path: Path) -> None:
    """Lines of JSON: offline with what waits, then in sync with nothing, when the daemon comes."""
    db, port = tmp_path / "device.db", free_port()
    conversation = conv_json(db, "new")["id"]
    watcher = watching(db, f"http://127.0.0.1:{port}")
    try:
        while (told := json.loads(read_line(watcher, 60)))["state"] != "offline":
            pass
        assert told["waiting"] == 1
        with daemon(tmp_path / "daemon.db", "--no-executor", port=port):
            while (told := json.loads(read_line(watcher, 60)))["state"] != "in sync":
                pass
            assert told["waiting"] == 0
            assert told["conversations"] == {conversation: {"state": "in sync", "waiting": 0, "error": ""}}
    finally:
        end(watcher)


def test_what_was_deleted_there_stays_here_and_stays_out(tmp_path: Path) -> None:
    """A device is told, the rest is synced, and the deleted one does not come back."""
    db = tmp_path / "device.db"
    gone, kept = (conv_json(db, "new", "--title", title)["id"] for title in ("gone", "kept"))
    with daemon(tmp_path / "daemon.db", "--no-executor") as server:
        conv(db, "sync", server.url, "--token", TOKEN)
        pass_on = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.delete(f"{server.url}/api/conversations/{gone}", headers=pass_on).status_code == 204
        conv(db, "append", gone, "still mine")
        conv(db, "append", kept, "more")
        told = conv_json(db, "sync", server.url, "--token", TOKEN)
        assert (told["synced"], told["deleted"], told["refused"]) == ([kept], [gone], {})
        assert said_at(server) == ["more"]
    assert [each["text"] for each in conv_json(db, "show", gone)["messages"]] == ["still mine"]


def test_status_of_a_store_that_nobody_synced(tmp_path: Path) -> None:
    """It says so, and how; where a daemon holds the store, its address too."""
    db = tmp_path / "device.db"
    conv(db, "new")
    assert "conv sync URL" in conv(db, "status")
    with daemon(db, "--no-executor") as server:
        assert conv_json(db, "status")["daemon"] == server.url
