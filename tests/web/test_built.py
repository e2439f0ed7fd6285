"""The built files: those of their sources, and in the wheel, so that nobody who installs it needs Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from syncd.webclient import BUILT
from tests.e2e.programs import end, environment, read_line

ROOT = Path(__file__).parents[2]
WEB = ROOT / "syncd" / "web"

needs_node = pytest.mark.skipif(
    shutil.which("npm") is None or not (WEB / "node_modules").is_dir(),
    reason="what the web client is built with is not installed: make web-node",
)


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def npm(*arguments: str) -> None:
    """Run npm on the web client."""
    done = subprocess.run(
        ["npm", *arguments],
        cwd=WEB,
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "CI": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, and unpack it into a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    [file] = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "content")
    return folder / "content"


def test_the_wheel_has_what_was_built_and_nothing_it_was_built_from(wheel: Path) -> None:
    """Every file that is served, and no source, no package of Node's, no test."""
    assert files(wheel / "syncd" / "web" / "dist") == files(BUILT)
    assert [path.name for path in (wheel / "syncd" / "web").iterdir()] == ["dist"]
    assert not list(wheel.rglob("node_modules"))
    assert "index.html" in files(BUILT)


def test_the_wheel_s_daemon_serves_the_page(wheel: Path, tmp_path: Path) -> None:
    """Run from what the wheel holds, with no checkout in sight."""
    command = [sys.executable, "-m", "syncd", "serve", "--db", "chats.db", "--port", "0", "--json"]
    environ = {**environment(), "PYTHONPATH": str(wheel), "CONV_NO_EXECUTOR": "1"}
    # Only here: the checkout's own files would be the same ones.
    mark = wheel / "syncd" / "web" / "dist" / "mark.txt"
    mark.write_text("from the wheel")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd=tmp_path)
    try:
        told = json.loads(read_line(process, 60))
        assert httpx.get(f"{told['url']}/mark.txt").text == "from the wheel"
        assert httpx.get(told["web"]).content == (BUILT / "index.html").read_bytes()
    finally:
        mark.unlink()
        end(process)


@needs_node
def test_what_is_committed_is_what_the_sources_make(tmp_path: Path) -> None:
    """Byte for byte: ``make web`` after a change, and commit what it wrote."""
    npm("run", "--silent", "build", "--", "--outDir", str(tmp_path / "dist"), "--emptyOutDir")
    built = files(tmp_path / "dist")
    assert built.keys() == files(BUILT).keys()
    assert built == files(BUILT)


@needs_node
@pytest.mark.skipif(
    not list((WEB / "test").glob("**/*.test.ts")), reason="the web client has none of its own"
)
def test_the_client_s_own_tests_pass() -> None:
    """What it computes from a document (logs, heads, digests) is what the store computes."""
    # Its own limit of 5 s is a guess about a machine; ours ends it if it hangs.
    npm("test", "--silent", "--", "--testTimeout=100000")
