"""What a command loads before it does anything."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import adapters
from syncd.cli.conv import COMMANDS

HEAVY = ("adapters.executor", "adapters.anthropic", "jwt", "syncd.client", "websockets", "uvicorn")


@pytest.mark.parametrize("module", ["syncd.cli.conv", "syncd.cli.look", "syncd.cli.write"])
def test_what_reads_or_writes_loads_no_provider_and_no_daemon(module: str) -> None:
    """Half of the time of a short command would go there."""
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("where", COMMANDS.values(), ids=COMMANDS)
def test_a_command_is_where_it_is_looked_for(where: str) -> None:
    """A name that is wrong would be noticed when somebody asks for the command."""
    module, _, function = where.partition(":")
    assert callable(getattr(import_module(module), function))


def test_every_adapter_is_where_it_is_looked_for() -> None:
    """What ``adapters`` lists it has, and nothing else."""
    assert {*adapters.__all__} == {*adapters._HOMES}
    for name in adapters.__all__:
        assert getattr(adapters, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = adapters.nothing
