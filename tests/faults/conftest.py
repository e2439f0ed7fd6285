"""What the fault tests share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.faults.runs import Children


@pytest.fixture(scope="session")
def children() -> Iterator[Children]:
    """Return the way to run the workload in processes of its own."""
    children = Children()
    yield children
    children.close()


@pytest.fixture
def quiet() -> Iterator[None]:
    """Have nothing logged: the daemon says of each fault that it was one."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
