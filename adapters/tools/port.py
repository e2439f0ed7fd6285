"""The ports: a tool as the executor calls it, and a server that has several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from adapters.exchange import Json, Tool
from adapters.tools.output import ToolOutput

TIME_LIMIT_S: Final = 60.0
OUTPUT_LIMIT: Final = 50_000
"""So many characters of a result go to the model; the whole of it is kept."""


@runtime_checkable
class CallableTool(Protocol):
    """A tool that can be called."""

    @property
    def definition(self) -> Tool:
        """What the model is told of it. ``name`` is 1 to 64 letters, digits, ``_`` and ``-``."""

    @property
    def is_repeatable(self) -> bool:
        """Whether calling it twice does no more than calling it once."""

    @property
    def needs_approval(self) -> bool:
        """Whether a person is asked before each call."""

    @property
    def time_limit_s(self) -> float:
        """How long one call may take."""

    @property
    def output_limit(self) -> int:
        """So many characters of a result go to the model."""

    async def call(self, arguments: Mapping[str, Json]) -> ToolOutput:
        """
        Call it. Cancelled when the time is up or the run is cancelled.

        Raises:
            Exception: Whatever it likes: the model reads it.
        """


@runtime_checkable
class ToolServer(Protocol):
    """Something with tools, that has to be kept connected."""

    @property
    def tools(self) -> Sequence[CallableTool]:
        """What it has; nothing before it was connected for the first time."""

    async def wait_until_listed(self) -> None:
        """Wait until its tools are known, or it can't be said how long that takes."""

    async def serve(self) -> None:
        """Keep the connection until cancelled."""
