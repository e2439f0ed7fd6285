"""
Messages as pure values: what a reader takes out of a document, and never more.

A document comes from strangers. ``parse_message`` accepts what schema 1 allows,
keeps keys, roles and part types that it does not know, fills in what may be
missing, and refuses the rest with a reason, so that the caller can quarantine
one message and read on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from crdt_conv.errors import MalformedEntry
from crdt_conv.ids import MessageId
from crdt_conv.messages.fields import Fields, Json, is_shallow, ordered
from crdt_conv.messages.node import Node

MAIN: Final = "main"
MERGE: Final = "merge"

PART_TYPES: Final = frozenset(
    {"text", "reasoning", "tool_call", "tool_result", "media", "tools", "opaque", "summary"}
)
ROLES: Final = frozenset({"system", "user", "assistant", "tool", MERGE})
REDACTED: Final = "redacted"
STATUSES: Final = frozenset({"streaming", "complete", "interrupted", "failed", "cancelled", REDACTED})


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a message: ``kind`` is human, model, tool or import."""

    kind: str
    device: str = ""
    name: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it as JSON."""
        return {"kind": self.kind, "device": self.device, "name": self.name}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message; ``content`` holds every key but ``id`` and ``type``."""

    id: str
    type: str
    content: Mapping[str, Json] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The part's text, or ``""`` where it has none."""
        text = self.content.get("text")
        return text if isinstance(text, str) else ""

    def as_json(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {"id": self.id, "type": self.type, **self.content}


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message as it stands in the document now.

    ``created`` is in milliseconds, ``parents`` are message ids, ``nonce`` is 16
    bytes or empty, ``hidden_count`` says how many hidden fields it carries, and
    ``blobs`` are the SHA-256 (hex) of every blob that it or they refer to. ``source``
    names the messages that a squash or cherry-pick was made from.
    """

    id: MessageId
    role: str
    parents: tuple[MessageId, ...]
    branch: str = MAIN
    created: int = 0
    author: Author = Author("human")
    parts: tuple[Part, ...] = ()
    status: str = "complete"
    run: str | None = None
    model: str | None = None
    usage: Mapping[str, Json] | None = None
    stop_reason: str | None = None
    nonce: bytes = b""
    hidden_count: int = 0
    blobs: tuple[str, ...] = ()
    source: tuple[MessageId, ...] = ()

    @property
    def node(self) -> Node:
        """What the graph knows of it."""
        return Node(
            self.id,
            self.role,
            self.parents,
            self.branch,
            self.created,
            self.status,
            self.hidden_count,
            self.blobs,
            self.source,
        )

    @property
    def text(self) -> str:
        """All ``text`` parts, one after another."""
        return "".join(part.text for part in self.parts if part.type == "text")

    @property
    def is_complete(self) -> bool:
        """Whether it was written to its end."""
        return self.status == "complete"

    @property
    def is_reply(self) -> bool:
        """Whether this message answers its parents, and so may have alternatives."""
        return self.role == "assistant"

    @property
    def place(self) -> tuple[str, tuple[MessageId, ...], str, int]:
        """What the graph is built from. Immutable by contract; a stranger may change it."""
        return self.role, self.parents, self.branch, self.created

    @property
    def order(self) -> tuple[int, MessageId]:
        """The tie-break of contract 1: ``(created, id)``."""
        return self.created, self.id

    def as_json(self) -> dict[str, Json]:
        """Return the message as ``conv show --json`` and the HTTP API print it, without its digest."""
        shown: dict[str, Json] = {
            "id": self.id,
            "role": self.role,
            "parents": list(self.parents),
            "branch": self.branch,
            "status": self.status,
            "author": self.author.as_json(),
            "created": self.created,
            "text": self.text,
            "parts": [{"id": part.id, "type": part.type, **ordered(part.content)} for part in self.parts],
        }
        generated = {
            "run": self.run,
            "model": self.model,
            "usage": ordered(self.usage),
            "stop_reason": self.stop_reason,
            "source": list(self.source) or None,
        }
        return shown | {key: value for key, value in generated.items() if value is not None}


def parse_message(message_id: str, raw: object) -> Message:
    """
    Read one entry of the ``messages`` root.

    Args:
        message_id: Its key.
        raw: Its value as JSON; bytes are lists of numbers.

    Raises:
        MalformedEntry: It is no message of schema 1; the text says why.
    """
    fields = Fields.of(raw)
    place: dict[str, Any] = {
        "id": MessageId(message_id),
        "role": fields.get("role", str),
        "parents": tuple(MessageId(parent) for parent in fields.strings("parents")),
        "branch": fields.get("branch", str, MAIN),
        "created": fields.milliseconds("created"),
        "author": parse_author(fields.get("author", dict, {})),
        "run": fields.optional("run", str),
        "model": fields.optional("model", str),
        "usage": fields.optional("usage", dict),
        "stop_reason": fields.optional("stop_reason", str),
        "source": tuple(MessageId(original) for original in fields.strings("source", [])),
    }
    if is_redacted(fields):
        # Whatever else it holds, written by who had not heard of the redaction, is not shown.
        return Message(**place, status=REDACTED)
    parts = tuple(parse_part(part) for part in fields.get("parts", list, []))
    hidden = fields.get("hidden", list, [])
    return Message(
        **place,
        parts=parts,
        status=fields.get("status", str, "complete"),
        nonce=fields.octets("nonce"),
        hidden_count=len(hidden),
        blobs=blobs_of(parts, [entry.get("blob") for entry in hidden if isinstance(entry, dict)]),
    )


def is_redacted(fields: Fields) -> bool:
    """Whether a raw message was redacted: a mark that no status written at the same time can undo."""
    return fields.has("redacted") or fields.get("status", str, "") == REDACTED


def blobs_of(parts: Iterable[Part], sealed: Iterable[Json]) -> tuple[str, ...]:
    """Return the SHA-256 of every blob that parts or hidden fields refer to."""
    # A result that was cut refers to the whole of it.
    found = [part.content.get("sha256") for part in parts if part.type in ("media", "tool_result")]
    found.extend(sealed)
    return tuple(sorted({blob for blob in found if isinstance(blob, str) and blob})) if found else ()


def parse_author(raw: dict[str, Json]) -> Author:
    """Read an author, filling in what is missing."""
    words = Fields(raw)
    kind = words.get("kind", str, "unknown")
    return _author(kind, words.get("device", str, ""), words.get("name", str, ""))


@lru_cache(maxsize=64)
def _author(kind: str, device: str, name: str) -> Author:
    # A conversation has few of them, each in very many messages.
    return Author(kind, device, name)


def parse_part(raw: object) -> Part:
    """
    Read one part.

    Raises:
        MalformedEntry: It is none.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        raise MalformedEntry("a part is no Map with a 'type'")
    if not (all(isinstance(value, str) for value in raw.values()) or is_shallow(raw)):
        raise MalformedEntry("a part is nested too deeply")
    part_id = raw.get("id")
    content = {key: value for key, value in raw.items() if key not in ("id", "type")}
    return Part(part_id if isinstance(part_id, str) else "", raw["type"], content)
