"""Who was written on top of whom, within a log."""

from __future__ import annotations

from collections.abc import Mapping

from crdt_conv import Message


def ancestors(message: Message, log: Mapping[str, Message]) -> set[str]:
    """Return the ids of all messages of a log that a message was written on top of."""
    found: set[str] = set()
    waiting = list(message.parents)
    while waiting:
        parent = waiting.pop()
        if parent in log and parent not in found:
            found.add(parent)
            waiting.extend(log[parent].parents)
    return found
