"""A disk that takes writes and fails to make them durable: no call is acknowledged then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.runs import Children, check, seeds

BEFORE = 12
"""So many steps are made before the first fsync fails."""


@pytest.mark.parametrize("seed", seeds())
def test_nothing_is_acknowledged_without_fsync(children: Children, tmp_path: Path, seed: int) -> None:
    """Once fsync fails every change is refused, and what was acknowledged before is there afterwards."""
    db = tmp_path / "chats.db"
    run = children.run(db, seed, "sync", BEFORE)
    if run.unable:
        pytest.skip(run.unable)
    assert run.statements, f"seed {seed}: ended by {run.code}"
    assert set(run.errors) == {"StoreError"}, f"seed {seed}: {run.errors}"
    assert True not in run.changes[BEFORE:], f"seed {seed}: acknowledged, and not on disk"
    check(db, run, f"seed {seed}, fsync fails")
