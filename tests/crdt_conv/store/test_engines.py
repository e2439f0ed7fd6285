"""Every engine of ours passes the acceptance suite that ships with the seam."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from crdt_conv.engine import Engine
from crdt_conv.store import MemoryEngine, SqliteEngine
from crdt_conv.testing import EngineSuite


class TestMemory(EngineSuite):
    """The engine in memory."""

    def make(self) -> Engine:
        return MemoryEngine()


class TestSqliteInMemory(EngineSuite):
    """SQLite without a file."""

    def make(self) -> Engine:
        return SqliteEngine(":memory:")


class TestSqliteFile(EngineSuite):
    """SQLite as people use it."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.paths = (tmp_path / f"{number}.db" for number in itertools.count())

    def make(self) -> Engine:
        return SqliteEngine(next(self.paths))

    def again(self, engine: Engine) -> Engine:
        assert isinstance(engine, SqliteEngine)
        engine.close()
        return SqliteEngine(engine.path)
