"""
Tools that a model is offered.

In a document they are the ``tools`` parts of system messages: ``definitions`` holds a
JSON text, a list of ``{name, description, parameters, strict, native}``, so that their
exact bytes, which providers bind hidden fields to, come back as they were.
``parameters`` is a JSON Schema. ``native`` maps a provider to its own definition, sent to
that provider as it stands: for tools that run at the provider, and for what only it knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapters.exchange.request import Json, encode_json
from crdt_conv import Part, new_part


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool; without ``parameters`` it is known to the providers in ``native`` alone."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Json] | None = None
    strict: bool | None = None
    native: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """Return its definition as it stands in a document."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None and value != {}}


def tools_part(tools: Iterable[Tool]) -> Part:
    """Return the part of a system message that offers tools from there on."""
    return new_part("tools", definitions=encode_json([tool.as_json() for tool in tools]).decode())


def read_tools(part: Part) -> tuple[Tool, ...] | None:
    """Return what a ``tools`` part offers; nothing where it can't be read."""
    definitions = part.content.get("definitions")
    try:
        listed = json.loads(definitions) if isinstance(definitions, str) else definitions
    except (ValueError, RecursionError):
        return None
    if not isinstance(listed, list):
        return None
    return tuple(tool for entry in listed if (tool := _tool(entry)) is not None)


def _tool(entry: object) -> Tool | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return None
    values = {key: entry.get(key) for key in ("description", "parameters", "strict", "native")}
    description, parameters, strict, native = values.values()
    return Tool(
        entry["name"],
        description if isinstance(description, str) else None,
        parameters if isinstance(parameters, dict) else None,
        strict if isinstance(strict, bool) else None,
        {key: item for key, item in native.items() if isinstance(item, dict)}
        if isinstance(native, dict)
        else {},
    )
