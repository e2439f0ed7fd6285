"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests marked ``anyio``."""
    return "asyncio"


# Examples are many and machines differ: what is too slow shows in bench/, not here.
settings.register_profile("crdt-conv", deadline=None, print_blob=True, max_examples=60)
settings.load_profile("crdt-conv")
