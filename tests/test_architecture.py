"""Who may import whom: contract 1's three packages, and one home for every foreign library that does I/O."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("crdt_conv", "adapters", "syncd")
EVENT_LOOPS = frozenset({"anyio", "asyncio", "trio"})
NETWORK = frozenset(
    {"http", "httpx", "httpx_sse", "socket", "ssl", "starlette", "urllib", "uvicorn", "websockets"}
)

# Where a module stands, by the longest prefix, and what it must not import.
FORBIDDEN = {
    "crdt_conv/": EVENT_LOOPS | NETWORK | {"adapters", "syncd"},
    "adapters/": {"syncd", "starlette", "uvicorn", "websockets", "socket"},
    "syncd/": {"adapters"},
    "syncd/protocol/": EVENT_LOOPS | NETWORK | {"adapters", "pycrdt", "crdt_conv"},
    # Where programs are composed, all three packages meet.
    "syncd/daemon.py": set(),
    "syncd/models.py": set(),
    "syncd/tools.py": set(),
    "syncd/cli/": set(),
}

# A foreign library that does I/O or owns bytes, and where it may be imported.
HOMES = {
    "backports": ("syncd/interchange/opening.py",),
    "compression": ("syncd/interchange/opening.py",),
    "cryptography": ("syncd/auth/",),
    "docstring_parser": ("adapters/tools/functions.py",),
    "filelock": ("crdt_conv/store/lock.py",),
    "httpx": ("adapters/http/", "adapters/llamacpp/client.py", "syncd/cli/", "syncd/client/remote.py"),
    "httpx_sse": ("adapters/http/", "adapters/llamacpp/client.py", "syncd/client/remote.py"),
    "httpx2": ("adapters/tools/mcp.py",),
    "ijson": ("syncd/interchange/sources.py",),
    "jwt": ("syncd/auth/",),
    "mcp": ("adapters/tools/mcp.py",),
    "prometheus_client": ("syncd/cli/status.py", "syncd/metrics.py"),
    "prompt_toolkit": ("syncd/cli/chat/terminal.py", "syncd/cli/prompting.py"),
    "pycrdt": ("crdt_conv/",),
    "pydantic": ("adapters/tools/functions.py",),
    "pydantic_core": ("adapters/tools/",),
    "rfc8785": ("crdt_conv/graph/digest.py",),
    "rich": ("syncd/cli/",),
    "sqlite3": ("crdt_conv/store/", "syncd/interchange/formats/llm_logs.py"),
    "sqlite_utils": ("crdt_conv/store/", "syncd/interchange/formats/llm_logs.py"),
    "starlette": (
        "syncd/api/",
        "syncd/app.py",
        "syncd/auth/",
        "syncd/sockets/collab.py",
        "syncd/server.py",
        "syncd/webclient.py",
        "syncd/sockets/wire.py",
    ),
    "typer": ("syncd/cli/",),
    "ulid": ("crdt_conv/ids.py",),
    "uvicorn": ("syncd/server.py", "syncd/sockets/wire.py"),
    "websockets": ("syncd/client/", "syncd/sockets/wire.py"),
    "xllamacpp": ("adapters/llamacpp/child.py",),
}

# Foreign libraries that any module may import whose layer does not forbid them.
ANYWHERE = {"anyio", "platformdirs"}
KNOWN = {*PACKAGES, *HOMES, *ANYWHERE, *sys.stdlib_module_names}


def sources() -> list[str]:
    """Return every module of the packages."""
    return [
        str(path.relative_to(ROOT)) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
    ]


def imported(source: str) -> Iterator[str]:
    """Yield the top-level names that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def faults(path: str, source: str) -> list[str]:
    """Return what a source at this path imports and must not."""
    rule = max((prefix for prefix in FORBIDDEN if path.startswith(prefix)), key=len)
    names = set(imported(source))
    homeless = {name for name in names & HOMES.keys() if not path.startswith(HOMES[name])}
    return sorted(names & FORBIDDEN[rule] | homeless | names - KNOWN)


@pytest.mark.parametrize("path", sources())
def test_every_module_imports_only_what_its_place_allows(path: str) -> None:
    """No module reaches across the borders of contract 1."""
    assert faults(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("crdt_conv/graph/graph.py", "import asyncio", ["asyncio"]),
        ("crdt_conv/graph/graph.py", "def f():\n    from adapters.errors import AdapterError", ["adapters"]),
        ("adapters/answers.py", "from syncd.client import SyncClient", ["syncd"]),
        ("syncd/rooms/room.py", "import adapters", ["adapters"]),
        ("syncd/daemon.py", "import adapters", []),
        ("syncd/rooms/room.py", "import sqlite3", ["sqlite3"]),
        ("syncd/protocol/frames.py", "from pycrdt import Doc", ["pycrdt"]),
        ("syncd/daemon.py", "import requests", ["requests"]),
    ],
)
def test_the_rules_find_what_they_forbid(path: str, source: str, expected: list[str]) -> None:
    """The check above can fail."""
    assert faults(path, source) == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_read(package: str) -> None:
    """The checks above look at something."""
    assert f"{package}/__init__.py" in sources()


@pytest.mark.parametrize("library", HOMES)
def test_every_home_is_lived_in(library: str) -> None:
    """The table names no place that has ceased to import its library."""
    users = [path for path in sources() if library in imported((ROOT / path).read_text())]
    assert [home for home in HOMES[library] if not any(user.startswith(home) for user in users)] == []


@pytest.mark.parametrize("path", sources())
def test_no_module_grows_past_500_lines(path: str) -> None:
    """A file that everybody extends is split before it becomes one."""
    assert len((ROOT / path).read_text().splitlines()) <= 500
