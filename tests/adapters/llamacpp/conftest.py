"""The real model: loaded once for all tests that only talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from adapters.errors import ModelUnavailable
from adapters.llamacpp import LlamaServer, find_model
from tests.adapters.llamacpp.live import Running


@pytest.fixture(scope="session")
def model() -> Path:
    """A real GGUF file, and llama.cpp to run it."""
    if find_spec("xllamacpp") is None:
        pytest.skip("llama.cpp is not installed: pip install 'crdt-conv[local]'")
    try:
        return find_model()
    except ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def running(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two slots of 1,024 tokens."""
    folder = tmp_path_factory.mktemp("slots")
    # In an event loop of its own, since every test has another.
    server = LlamaServer(model, context_tokens=1024, threads=1, slots=2, slot_save_path=folder)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server):
        pid = server.pid
        assert pid is not None
        yield Running(portal.call(server.url), server.api_key, pid, folder)


@pytest.fixture
def fake_model(tmp_path: Path) -> Path:
    """A file that passes for a GGUF file at first sight."""
    path = tmp_path / "fake.gguf"
    path.write_bytes(b"GGUF")
    return path
