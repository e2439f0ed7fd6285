"""All the tools of an executor, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import anyio

from adapters.exchange import Tool
from adapters.tools.functions import FunctionTool
from adapters.tools.port import CallableTool, ToolServer

AnyTool: TypeAlias = CallableTool | ToolServer | Callable[..., Any]


class Toolbox:
    """What an executor offers, in the order it was given: providers cache requests by their beginning."""

    def __init__(self, tools: Iterable[AnyTool] = ()) -> None:
        """
        Collect tools.

        Raises:
            TypeError: One is no tool, and no function that can be one.
            ValueError: Two have one name.
        """
        self._sources = [_source(tool) for tool in tools]
        names = [source.definition.name for source in self._sources if isinstance(source, CallableTool)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two tools have one name: {', '.join(twice)}")

    def __bool__(self) -> bool:
        return bool(self._sources)

    @property
    def definitions(self) -> tuple[Tool, ...]:
        """What models are told."""
        return tuple(tool.definition for tool in self._by_name().values())

    def find(self, name: str) -> CallableTool | None:
        """Return the tool of a name."""
        return self._by_name().get(name)

    async def wait_until_listed(self) -> None:
        """Wait until the tools of all servers are known, as far as they will be soon."""
        for server in self._servers():
            await server.wait_until_listed()

    async def serve(self) -> None:
        """Keep the servers connected until cancelled."""
        async with anyio.create_task_group() as tasks:
            for server in self._servers():
                tasks.start_soon(server.serve)

    def _servers(self) -> Iterator[ToolServer]:
        return (source for source in self._sources if isinstance(source, ToolServer))

    def _by_name(self) -> dict[str, CallableTool]:
        """Of two with one name the first counts: a server may not take the place of another."""
        by_name: dict[str, CallableTool] = {}
        for source in self._sources:
            for tool in source.tools if isinstance(source, ToolServer) else (source,):
                by_name.setdefault(tool.definition.name, tool)
        return by_name


def _source(tool: AnyTool) -> CallableTool | ToolServer:
    if isinstance(tool, ToolServer | CallableTool):
        return tool
    return FunctionTool(tool)
