"""Progress of ``conv import``, ``sync`` and ``syncd compact`` at a terminal, and Ctrl-C in its middle."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from crdt_conv import Store
from tests.e2e.programs import conv, conv_json, daemon, environment
from tests.e2e.terminals import CTRL_C, terminal
from tests.e2e.test_operations import syncd

COUNT = 250
MESSAGES = 4


def write_chats(file: Path) -> Path:
    """Write a file that takes a second or two to import."""
    lines = [
        json.dumps({"messages": [{"role": "user", "content": f"{n}: line {m}"} for m in range(MESSAGES)]})
        for n in range(COUNT)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def digests(db: Path) -> dict[str, str]:
    """Return what every conversation of a store holds."""
    with Store(db, read_only=True) as store:
        return {info.id: store.open(info.id).digest().hex() for info in store.list()}


def check_whole(db: Path) -> None:
    """Have the store's every byte read."""
    assert syncd("check", "--db", str(db)).returncode == 0


def test_import_shows_how_far_it_is(tmp_path: Path) -> None:
    """The file's name, and its bytes as people write them; nothing of it in what is printed at the end."""
    with terminal(
        tmp_path / "chats.db", "import", str(write_chats(tmp_path / "chats.jsonl")), "--json"
    ) as at:
        at.expect("importing chats.jsonl")
        at.expect("kB")
        at.expect('{"conversations"')
        assert at.ended() == 0


def test_ctrl_c_ends_an_import_at_once(tmp_path: Path) -> None:
    """Exit code 130 and a whole store; importing again gives what one import would have given."""
    file, db, other = write_chats(tmp_path / "chats.jsonl"), tmp_path / "chats.db", tmp_path / "other.db"
    with terminal(db, "import", str(file)) as at:
        at.expect("importing chats.jsonl")
        at.expect("kB")
        at.type(CTRL_C)
        assert at.ended() == 130
    check_whole(db)
    assert 0 < len(conv_json(db, "ls")) < COUNT
    conv(db, "import", str(file))
    conv(other, "import", str(file))
    assert digests(db) == digests(other)
    assert len(digests(db)) == COUNT


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Return a store with many conversations, whose logs are not compacted."""
    db = tmp_path / "chats.db"
    conv(db, "import", str(write_chats(tmp_path / "chats.jsonl")))
    return db


def test_ctrl_c_ends_a_sync_at_once(filled: Path, tmp_path: Path) -> None:
    """A bar of conversations; exit code 130; both stores whole; the next sync brings over the rest."""
    with daemon(tmp_path / "theirs.db", "--no-executor") as server:
        with terminal(filled, "sync", server.url) as at:
            at.expect("syncing conversations")
            at.expect(f"/{COUNT}")
            at.type(CTRL_C)
            assert at.ended() == 130
        assert len(conv_json(server.db, "ls")) < COUNT
        with terminal(filled, "sync", server.url) as at:
            at.expect(f"/{COUNT}")
            at.expect(f"in sync with {server.url}: {COUNT} conversations")
            assert at.ended() == 0
        assert digests(server.db) == digests(filled)
    check_whole(filled)
    check_whole(tmp_path / "theirs.db")


@pytest.mark.parametrize("by_daemon", [False, True])
def test_ctrl_c_ends_a_compaction_at_once(filled: Path, *, by_daemon: bool) -> None:
    """A bar of conversations, whoever compacts; exit code 130, nothing lost; the next one does the rest."""
    before = digests(filled)
    with daemon(filled, "--no-executor") if by_daemon else nullcontext():
        with terminal(filled, "compact", program="syncd") as at:
            at.expect("compacting")
            at.expect(f"/{COUNT}")
            at.type(CTRL_C)
            assert at.ended() == 130
        assert digests(filled) == before
        done = json.loads(syncd("compact", "--json", "--db", str(filled)).stdout)
    assert len(done["conversations"]) == COUNT
    check_whole(filled)
    assert digests(filled) == before


def test_nothing_of_a_bar_is_in_a_pipe(filled: Path, tmp_path: Path) -> None:
    """Without a terminal standard error stays empty, and standard output is what was asked for."""
    for program, arguments in (
        ("conv", ["import", str(tmp_path / "chats.jsonl")]),
        ("syncd", ["compact"]),
    ):
        command = [sys.executable, "-c", f"from syncd.cli.{program} import main; main()", *arguments]
        done = subprocess.run(
            [*command, "--db", str(filled)], capture_output=True, env=environment(), timeout=60, check=True
        )
        assert done.stderr == b""
        assert b"\x1b" not in done.stdout
