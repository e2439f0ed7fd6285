"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests marked ``anyio``."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What models compute in tests, in whatever process, is kept where tests keep things."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONV_CHECKPOINTS", str(tmp_path_factory.mktemp("checkpoints")))
        yield


# Examples are many and machines differ: what is too slow shows in bench/, not here.
settings.register_profile("crdt-conv", deadline=None, print_blob=True, max_examples=60)
settings.load_profile("crdt-conv")
