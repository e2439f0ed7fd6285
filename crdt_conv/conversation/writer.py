"""
Writing a message piece by piece, as a model's tokens come.

Every call is one durable update, so whoever streams collects tokens for 20 to
50 ms first: one update a token makes the log seven times the text.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pycrdt import Array, Map

from crdt_conv.document import schema
from crdt_conv.document.document import Document, shared
from crdt_conv.errors import InvalidMessage, UnknownMessage
from crdt_conv.ids import MessageId
from crdt_conv.messages.fields import Json, plain
from crdt_conv.messages.hidden import HiddenField
from crdt_conv.messages.message import REDACTED, STATUSES, Message, Part


class Writable(Protocol):
    """What a writer needs of a conversation."""

    def message(self, message_id: str) -> Message:
        """Return a message as it stands now."""

    def writing(self) -> AbstractContextManager[Document]:
        """Make changes as one durable update."""

    def add_hidden(self, message_id: str, *fields: HiddenField) -> None:
        """Seal fields into a message."""


def new_part(part_type: str, **content: Json) -> Part:
    """
    Make a part with an id of its own.

    Example:
        >>> new_part("text", text="Hello").text
        'Hello'
    """
    return Part(secrets.token_hex(3), part_type, content)


class MessageWriter:
    """The writing end of one message that streams. Holds no shared types, only its id."""

    def __init__(self, conversation: Writable, message_id: MessageId) -> None:
        self._conversation = conversation
        self.message_id = message_id

    @property
    def message(self) -> Message:
        """The message as it stands now."""
        return self._conversation.message(self.message_id)

    @property
    def is_redacted(self) -> bool:
        """Whether the message was taken out meanwhile, so that nothing more can be written to it."""
        return self.message.status == REDACTED

    def write(self, text: str, part_type: str = "text") -> None:
        """
        Append to the last part if it is of this type, else begin a new part.

        Args:
            text: What came since the last call.
            part_type: ``text`` or ``reasoning``.

        Raises:
            InvalidMessage: The message was redacted meanwhile; see ``is_redacted``.
            StoreError: It could not be made durable.
        """
        with self._conversation.writing() as document:
            parts = self._parts(document)
            last = parts[-1] if len(parts) else None
            growing = schema.growing_text(last) if isinstance(last, Map) else None
            if growing is not None and last is not None and last.get("type") == part_type:
                growing += text
            else:
                parts.append(shared(schema.part_map(new_part(part_type, text=text))))

    def add(self, part: Part) -> None:
        """Append a whole part, a tool call say."""
        self.grow([part])

    def grow(
        self,
        new: Sequence[Part] = (),
        more: Mapping[str, str] | None = None,
        values: Mapping[str, Mapping[str, Json]] | None = None,
    ) -> None:
        """
        Append parts, and let parts that are there grow, as one update.

        Args:
            new: Appended as they stand.
            more: Part id to what is appended to its text, or to a tool call's arguments.
            values: Part id to keys that are set beside it, ``citations`` say.

        Raises:
            InvalidMessage: The message was redacted meanwhile; see ``is_redacted``.
            StoreError: It could not be made durable.
        """
        with self._conversation.writing() as document:
            parts = self._parts(document)
            for part in new:
                parts.append(shared(schema.part_map(part)))
            if more or values:
                places = {part.get("id"): part for part in parts if isinstance(part, Map)}
                for part_id, text in (more or {}).items():
                    growing = schema.growing_text(places[part_id])
                    if growing is not None:
                        growing += text
                for part_id, keys in (values or {}).items():
                    for key, value in keys.items():
                        places[part_id][key] = value

    def finish(
        self,
        status: str = "complete",
        *,
        usage: Mapping[str, Json] | None = None,
        stop_reason: str | None = None,
    ) -> Message:
        """
        End the message.

        Args:
            status: ``complete``, ``interrupted``, ``failed`` or ``cancelled``.
            usage: Tokens and times, as the adapter counted them.
            stop_reason: Why the model stopped.

        Raises:
            InvalidMessage: There is no such status.
            StoreError: It could not be made durable.
        """
        if status not in STATUSES:
            raise InvalidMessage(f"no status {status!r}: it is one of {', '.join(sorted(STATUSES))}")
        values = {"status": status, "usage": usage, "stop_reason": stop_reason}
        with self._conversation.writing() as document:
            entry = self._entry(document)
            for key, value in values.items():
                if value is not None:
                    entry[key] = value
        return self.message

    def seal(self, *fields: HiddenField) -> None:
        """Add hidden fields; raises as ``Conversation.add_hidden`` does."""
        self._conversation.add_hidden(self.message_id, *fields)

    def _entry(self, document: Document) -> Map[Any]:
        entry = document.writable("messages", self.message_id)
        if entry is None:
            raise UnknownMessage(self.message_id)
        if entry.get("redacted") or entry.get("status") == REDACTED:
            raise InvalidMessage(f"the message {self.message_id} was redacted: nothing more is written to it")
        return entry

    def _parts(self, document: Document) -> Array[Any]:
        entry = self._entry(document)
        parts = entry.get("parts")
        if not isinstance(parts, Array):
            # Another program's message, with a plain list or none: ours grows from it.
            entry["parts"] = parts = Array([plain(part) for part in parts] if isinstance(parts, list) else [])
        return parts
