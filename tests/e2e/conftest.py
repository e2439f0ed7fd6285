"""A daemon, and stock clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.programs import DIALECTS, Connect, Daemon, StockClient, daemon


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """Name a client."""
    return str(request.param)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Daemon]:
    """Run a daemon."""
    with daemon(tmp_path / "chats.db", "--no-executor") as running:
        yield running


@pytest.fixture
def start(server: Daemon) -> Iterator[Connect]:
    """Start clients of a named dialect, which are ended."""
    with ExitStack() as clients:

        def begin(kind: str, *rooms: str, url: str = server.ws, **options: Any) -> StockClient:
            client = StockClient(kind, url, *rooms, **options)
            clients.callback(client.close)
            return client

        yield begin


@pytest.fixture
def connect(start: Connect, dialect: str) -> Connect:
    """Start clients of the test's dialect."""
    return partial(start, dialect)
