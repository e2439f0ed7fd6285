"""What one transaction did to a document, for whoever reads it again: a pure value."""

from __future__ import annotations

from dataclasses import dataclass, field

from crdt_conv.document import schema
from crdt_conv.ids import MessageId
from crdt_conv.messages.message import Message


@dataclass(slots=True)
class Changes:
    """What one transaction did: its update (empty bytes if nothing), and the entries it touched."""

    update: bytes = b""
    messages: set[MessageId] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    roots: set[str] = field(default_factory=set)
    """Small roots in which something changed."""
    written: dict[MessageId, Message] = field(default_factory=dict)
    """New messages of which is known that they read as they were written."""

    def note(self, root: str, key: str) -> None:
        """Note that something changed under a key of a root."""
        if root == "messages":
            self.messages.add(MessageId(key))
        elif root == "runs":
            self.runs.add(key)
        elif root in schema.SMALL_ROOTS:
            self.roots.add(root)
