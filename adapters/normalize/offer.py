"""
The tools that stand in a log: which of them are offered at its end.

A ``tools`` part replaces what its own ancestors offered. Of two sides of a merge that changed
them apart, both count; where they define one name differently, the one that stands first
in the log, so that what was answered before keeps its prefix.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.exchange import Note, Tool, read_tools
from adapters.normalize.ancestry import ancestors
from crdt_conv import Message


class Offer:
    """Takes in system messages; ``tools`` says at any time what is offered."""

    def __init__(self) -> None:
        self._offers: list[tuple[Message, tuple[Tool, ...]]] = []
        self.left_out: list[Note] = []
        self.tools: tuple[Tool, ...] = ()

    def take(self, message: Message, log: Mapping[str, Message]) -> bool:
        """Take in a system message; returns whether it offers tools, be it none at all."""
        parts = [part for part in message.parts if part.type == "tools"]
        offered = [read_tools(part) for part in parts]
        if None in offered:
            self.left_out.append(Note(message.id, "its tools can't be read"))
        readable = [tools for tools in offered if tools is not None]
        if not readable:
            return bool(parts)
        replaced = ancestors(message, log) if self._offers else set()
        self._offers = [offer for offer in self._offers if offer[0].id not in replaced]
        self._offers.append((message, tuple(tool for tools in readable for tool in tools)))
        self.tools = self._united()
        return True

    def _united(self) -> tuple[Tool, ...]:
        united: dict[str, Tool] = {}
        for message, tools in self._offers:
            for tool in tools:
                if united.setdefault(tool.name, tool) != tool:
                    self.left_out.append(
                        Note(message.id, f"its tool {tool.name!r}: another of this name stands before it")
                    )
        return tuple(united.values())


def with_offered(
    in_log: tuple[Tool, ...], offered: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], tuple[Note, ...]]:
    """Return the log's tools and those that a run offers beside them; the log's bytes count."""
    united = {tool.name: tool for tool in in_log}
    notes = [
        Note(tool.name, "the log defines this tool otherwise, and that is sent")
        for tool in offered
        if united.setdefault(tool.name, tool) != tool
    ]
    return tuple(united.values()), tuple(notes)
