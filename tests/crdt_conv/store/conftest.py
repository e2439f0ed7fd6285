"""What several tests of the store share."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.crdt_conv.store.wholes import Whole, make_whole


@pytest.fixture(scope="session")
def dbstat() -> None:
    """Skip where nobody can say what stands on the pages of a file."""
    with closing(sqlite3.connect(":memory:")) as connection:
        if ("ENABLE_DBSTAT_VTAB",) not in connection.execute("pragma compile_options").fetchall():
            pytest.skip("this SQLite was built without dbstat, which says what stands on which page")


@pytest.fixture(scope="session")
def whole(dbstat: None, tmp_path_factory: pytest.TempPathFactory) -> Whole:  # noqa: ARG001 - it may skip
    """Return a store that nothing is wrong with."""
    return make_whole(tmp_path_factory.mktemp("whole") / "chats.db")
