"""The history of ``conv chat``: its owner's alone, and without what is redacted."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.history import FileHistory

from syncd.cli.history import forget, open_history


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the history is."""
    path = tmp_path / "state" / "chat"
    monkeypatch.setenv("CONV_HISTORY", str(path))
    return path


def typed(file: Path) -> list[str]:
    """Return what the library reads from the file, oldest first."""
    return list(reversed(list(FileHistory(str(file)).load_history_strings())))


def test_only_its_owner_reads_it(file: Path) -> None:
    """The file and the folder that are made, and a file that others could read before."""
    assert open_history() == file
    assert [path.stat().st_mode & 0o777 for path in (file, file.parent)] == [0o600, 0o700]
    file.chmod(0o644)
    open_history()
    assert file.stat().st_mode & 0o777 == 0o600


def test_without_a_folder_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat goes on without history where it can't be kept."""
    monkeypatch.setenv("CONV_HISTORY", "/dev/null/nowhere")
    assert open_history() is None
    forget("anything")


def test_what_is_redacted_is_forgotten(file: Path) -> None:
    """The whole of an entry, and what stands behind a command; others stay as they are."""
    open_history()
    history = FileHistory(str(file))
    said = ["the code is 8531", "one\ntwo", "/edit the code is 8531", "the code is 85", "+ a plus"]
    for text in said:
        history.store_string(text)
    forget("the code is 8531")
    assert typed(file) == ["one\ntwo", "the code is 85", "+ a plus"]
    assert b"8531" not in file.read_bytes()
    forget("one\ntwo")
    forget("")
    assert typed(file) == ["the code is 85", "+ a plus"]
    assert file.stat().st_mode & 0o777 == 0o600
