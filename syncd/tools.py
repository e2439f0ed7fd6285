"""
The tools of MCP servers, as people configure them and as programs show them.

A server is a table ``[mcp.NAME]`` of the configuration: how it is reached, and what is said of its tools.
Values of ``env`` and ``headers`` name variables of the environment, as ``$NAME`` or ``${NAME}``, so that no
key stands in a file; ``$$`` is a dollar sign.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from adapters.exchange import Tool
from adapters.tools import CallableTool, Toolbox
from syncd.errors import ConfigError

if TYPE_CHECKING:
    from adapters.tools.mcp import McpServer

OPTIONS: Final = ("prefix", "needs_approval", "is_repeatable", "time_limit_s", "output_limit")
"""What is handed on to ``McpServer`` as it stands."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """
    One server: over stdio by ``command``, or over HTTP by ``url``.

    ``secrets`` are the values that came from the environment: no log may hold them.
    """

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def make(self) -> McpServer:
        """Return the server; it is connected by whoever serves it."""
        # Half a second, which only who has a server is to wait.
        from adapters.tools.mcp import McpServer  # noqa: PLC0415

        # What goes wrong stands in ``problem``; the SDK's own lines quote what a server has said.
        logging.getLogger("mcp").setLevel(logging.CRITICAL)
        if self.url:
            return McpServer.http(self.url, headers=self.headers, name=self.name, **self.options)
        return McpServer.stdio(*self.command, env=self.env, cwd=self.cwd, name=self.name, **self.options)


def read_servers(
    table: Mapping[str, object], names: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[ServerSettings, ...]:
    """
    Return the servers of the configuration's table ``[mcp]``, in its order.

    Args:
        table: By name.
        names: Only these; all that are not ``enabled = false``, where it is left out.
        environ: Where variables are looked up.

    Raises:
        ConfigError: Something in it can't be; the text says where, and what to do.
    """
    missing = [name for name in names or () if name not in table]
    if missing:
        known = f"it has {', '.join(table)}" if table else "it has none"
        raise ConfigError(f"no server [mcp.{missing[0]}] in the configuration: {known}")
    readers = (_Reader(name, table[name], environ) for name in table if names is None or name in names)
    return tuple(reader.read() for reader in readers if reader.is_enabled or names is not None)


class _Reader:
    """Reads one table."""

    def __init__(self, name: str, table: object, environ: Mapping[str, str]) -> None:
        self._name = name
        self._environ = environ
        self._secrets: list[str] = []
        if not isinstance(table, dict):
            raise self._error("is no table")
        self._table: Mapping[str, object] = table

    @property
    def is_enabled(self) -> bool:
        """Whether its tools are offered when nobody chooses."""
        return self._table.get("enabled") is not False

    def read(self) -> ServerSettings:
        """Return the server."""
        unknown = sorted(self._table.keys() - _KINDS.keys())
        if unknown:
            raise self._error(f"has no {unknown[0]!r}: it is one of {', '.join(_KINDS)}")
        given: dict[str, Any] = dict(self._table)
        for key, value in given.items():
            self._check(key, value)
        if ("command" in given) == ("url" in given):
            raise self._error("has to say how it is reached: by a 'command', or by a 'url'")
        others = ("args", "env", "cwd") if "url" in given else ("headers",)
        wrong, other = [key for key in others if key in given], "command" if "url" in given else "url"
        if wrong:
            raise self._error(f"has {wrong[0]!r}, which is for a server with a {other!r}")
        return ServerSettings(
            self._name,
            (given["command"], *given.get("args", ())) if "command" in given else (),
            self._filled("env", given.get("env", {})),
            Path(given["cwd"]).expanduser() if "cwd" in given else None,
            given.get("url", ""),
            self._filled("headers", given.get("headers", {})),
            {key: given[key] for key in OPTIONS if key in given},
            tuple(self._secrets),
        )

    def _check(self, key: str, value: object) -> None:
        is_right, like = _KINDS[key]
        if not is_right(value):
            raise self._error(f"has a {key!r} that is not like {like}")

    def _filled(self, what: str, values: Mapping[str, str]) -> Mapping[str, str]:
        return {key: self._fill(f"{what}.{key}", text) for key, text in values.items()}

    def _fill(self, where: str, text: str) -> str:
        template = Template(text)
        if not template.is_valid():
            raise self._error(f"has a dollar sign in {where!r} that names no variable: write $$ for one")
        for name in template.get_identifiers():
            if not self._environ.get(name):
                raise self._error(f"wants the variable {name} for {where!r}: set it, or choose other --tools")
            self._secrets.append(self._environ[name])
        return template.substitute(self._environ)

    def _error(self, text: str) -> ConfigError:
        return ConfigError(f"[mcp.{self._name}] of the configuration {text}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


_KINDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "command": (_is_text, '"mcp-server-time"'),
    "args": (_is_texts, '["--local-timezone", "UTC"]'),
    "env": (_is_table, '{ TOKEN = "$FILES_TOKEN" }'),
    "cwd": (_is_text, '"~/notes"'),
    "url": (lambda value: _is_text(value) and value.startswith(("http://", "https://")), '"https://…"'),
    "headers": (_is_table, '{ Authorization = "Bearer $FILES_TOKEN" }'),
    "prefix": (_is_text, '"files-"'),
    "needs_approval": (lambda value: _is_flag(value) or _is_texts(value), 'true or ["delete"]'),
    "is_repeatable": (_is_flag, "true"),
    "time_limit_s": (_is_number, "60"),
    "output_limit": (lambda value: _is_number(value) and isinstance(value, int), "50000"),
    "enabled": (_is_flag, "true"),
}
"""The keys of a server, whether a value is one, and what it looks like."""


def tools_of(listed: Mapping[str, Any]) -> tuple[Tool, ...]:
    """Return what models are told of tools, from a list as ``Toolset.as_json`` gives it."""
    return tuple(Tool(tool["name"], tool["description"], tool["parameters"]) for tool in listed["tools"])


class Toolset:
    """The tools that a program offers."""

    def __init__(self, settings: Sequence[ServerSettings] = ()) -> None:
        self.servers = [each.make() for each in settings]

    @property
    def definitions(self) -> tuple[Tool, ...]:
        """What models are told, as an executor with these servers tells them."""
        return Toolbox(self.servers).definitions

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with servers that are not connected, by name."""
        return {server.name: server.problem for server in self.servers if server.problem}

    def as_json(self) -> dict[str, Any]:
        """Return the tools, and how each server stands."""
        return {
            "tools": [
                {
                    "name": tool.definition.name,
                    "server": server.name,
                    "description": tool.definition.description or "",
                    "needs_approval": tool.needs_approval,
                    "is_repeatable": tool.is_repeatable,
                    "parameters": tool.definition.parameters or {},
                }
                for server, tool in self._tools()
            ],
            "servers": [
                {"name": server.name, "tools": len(server.tools), "problem": server.problem}
                for server in self.servers
            ],
        }

    def _tools(self) -> Iterator[tuple[McpServer, CallableTool]]:
        """Yield what is offered: of two with one name the first."""
        seen: set[str] = set()
        for server in self.servers:
            for tool in server.tools:
                if tool.definition.name not in seen:
                    seen.add(tool.definition.name)
                    yield server, tool
