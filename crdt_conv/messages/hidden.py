"""
Hidden fields: what a provider sealed into a message, kept as it came.

``data`` is bytes or JSON and is never parsed for meaning here; over 64 KiB it
is a blob. Bytes come back byte for byte. JSON comes back as the same value;
a Y.Doc keeps neither the order of an object's keys nor numbers beyond a
double, so whoever needs a JSON text exactly hands it over as ``str`` or
``bytes``. Source: contract 1, "Hidden fields".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from crdt_conv.checks import check_text
from crdt_conv.errors import InvalidMessage, MalformedEntry
from crdt_conv.messages.fields import Fields, Json, is_exact
from crdt_conv.messages.message import Message

SELF: Final = "self"
PREFIX: Final = "prefix"
SERVER: Final = "server"
BINDINGS: Final = frozenset({SELF, PREFIX, SERVER})
TEXT: Final = "utf-8"
JSON: Final = "json"
BLOB_FROM: Final = 64 * 1024
"""Data longer than this, in bytes, is a blob."""


@dataclass(frozen=True, slots=True)
class HiddenField:
    """
    One field. Times are milliseconds since 1970.

    ``space`` is the key space that can verify it; ``at`` the id of the part it
    belongs to, or nothing for the whole message; ``binding`` what makes it valid:
    ``self``, ``prefix`` (behind the request with the digest ``prefix``) or
    ``server`` (a name for state that ``endpoint`` may lose). ``data`` is nothing
    where ``blob``, a SHA-256, stands for it; ``encoding`` is ``utf-8`` where that was a text,
    ``json`` where it was another JSON value.
    """

    provider: str
    space: str
    kind: str
    data: bytes | Json = None
    binding: str = SELF
    at: str | None = None
    model: str | None = None
    endpoint: str | None = None
    prefix: str | None = None
    blob: str | None = None
    encoding: str | None = None
    created: int = 0
    expires: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it has data that a document keeps exactly, or a blob, and not both."""
        if self.binding not in BINDINGS or (self.data is None) == (self.blob is None):
            return False
        return isinstance(self.data, bytes) or is_exact(self.data)

    def with_data(self, get_blob: Callable[[str], bytes | None]) -> HiddenField:
        """Return this field with its blob's bytes as data, where there is a blob and it is here."""
        data = get_blob(self.blob) if self.blob is not None else None
        if data is None:
            return self
        value: Json = data
        # A stranger's blob may be no text, or no JSON: then it is bytes.
        with suppress(ValueError, RecursionError):
            if self.encoding == TEXT:
                value = data.decode()
            elif self.encoding == JSON:
                value = json.loads(data)
        return replace(self, data=value)

    def as_blob(self) -> tuple[bytes, str | None] | None:
        """
        Return the bytes of data that a blob must hold, and how to read them; nothing where it is short.

        Raises:
            InvalidMessage: It can't be kept exactly.
        """
        data, encoding = self.data, None
        if isinstance(data, str) and len(data) * 4 > BLOB_FROM:
            check_text(data)
            data, encoding = data.encode(), TEXT
        elif isinstance(data, dict | list):
            check_exact(data)
            data, encoding = json.dumps(data).encode(), JSON
        return (data, encoding) if isinstance(data, bytes) and len(data) > BLOB_FROM else None


class Validity(NamedTuple):
    """Whether a hidden field may be sent, and why not in words for people (empty where it may)."""

    is_valid: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.is_valid


VALID: Final = Validity(is_valid=True)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request is to go: ``endpoint`` is narrower than ``space`` and matters to ``server`` fields."""

    space: str
    endpoint: str | None = None
    model: str | None = None


def validity(
    field: HiddenField, message: Message, to: Destination, *, prefix: str | None, now_ms: int
) -> Validity:
    """
    Say whether a hidden field still holds; an adapter may be stricter.

    Args:
        field: The field.
        message: The message that carries it.
        to: Where the request goes.
        prefix: The digest of the request as far as this field, as it is materialized now.
        now_ms: The time, in milliseconds since 1970.
    """
    for is_wrong, reason in (
        (message.status == "redacted", "its message was redacted"),
        (field.data is None, "its data is not here"),
        (field.binding not in BINDINGS, f"its binding {field.binding!r} is unknown"),
        (field.expires is not None and field.expires <= now_ms, "it has expired"),
        (field.space != to.space, f"{field.space or 'nobody'} sealed it, {to.space} can't read it"),
        (field.at is not None and field.at not in _part_ids(message), "the part it belongs to is gone"),
        (field.binding == SERVER and field.endpoint != to.endpoint, "it names state of another endpoint"),
        (
            field.binding == PREFIX and (field.prefix is None or field.prefix != prefix),
            "the conversation before it is not the one it was made from",
        ),
    ):
        if is_wrong:
            return Validity(is_valid=False, reason=reason)
    return VALID


def _part_ids(message: Message) -> set[str]:
    return {part.id for part in message.parts}


def in_order(fields: list[HiddenField], message: Message) -> list[HiddenField]:
    """Return fields in the order of their parts, those of one part as they came, of none last."""
    places = {part.id: place for place, part in enumerate(message.parts)}
    return sorted(fields, key=lambda field: places.get(field.at or "", len(places)))


def hidden_json(field: HiddenField) -> dict[str, Any]:
    """
    Return a field as the plain values of its Map.

    Raises:
        InvalidMessage: Its data is neither bytes nor JSON, or its binding is none.
    """
    if field.binding not in BINDINGS:
        raise InvalidMessage(f"no binding {field.binding!r}: it is self, prefix or server")
    if (field.data is None) == (field.blob is None):
        raise InvalidMessage("a hidden field has either data or a blob")
    for name, time in (("created", field.created), ("expires", field.expires)):
        if time is not None and not 0 <= time < 2**53:
            raise InvalidMessage(f"{name!r} is no time in milliseconds")
    check_exact(field.data)
    values = {name: getattr(field, name) for name in field.__slots__}
    return {key: value for key, value in values.items() if value is not None}


def check_exact(data: bytes | Json) -> None:
    """
    Refuse data that a document does not keep exactly.

    Raises:
        InvalidMessage: It is neither bytes nor such JSON.
    """
    if not isinstance(data, bytes) and not is_exact(data):
        raise InvalidMessage("a document does not keep this data exactly: give it as bytes, or as JSON text")


def parse_hidden(raw: object) -> HiddenField:
    """
    Read one hidden field, its bytes as bytes.

    Raises:
        MalformedEntry: It is none; the text says why.
    """
    fields = Fields.of(raw)
    values: Mapping[str, Any] = fields.raw
    expires = fields.milliseconds("expires") if fields.has("expires") else None
    return HiddenField(
        provider=fields.get("provider", str, ""),
        space=fields.get("space", str, ""),
        kind=fields.get("kind", str, ""),
        data=values.get("data"),
        binding=fields.get("binding", str, SELF),
        at=fields.optional("at", str),
        model=fields.optional("model", str),
        endpoint=fields.optional("endpoint", str),
        prefix=fields.optional("prefix", str),
        blob=fields.optional("blob", str),
        encoding=fields.optional("encoding", str),
        created=fields.milliseconds("created"),
        expires=expires,
    )


def hidden_fields(raw: object) -> list[HiddenField]:
    """Read the ``hidden`` of a message, passing over what is no hidden field."""
    fields: list[HiddenField] = []
    for entry in raw if isinstance(raw, list) else ():
        try:
            fields.append(parse_hidden(entry))
        except MalformedEntry:
            # It stays in the document, and in the order, for whoever understands it.
            continue
    return fields
