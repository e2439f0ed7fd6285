"""
Conversations as other programs have them, on their way into a store.

A format turns a file into ``Imported``: records with the keys and parents they have there. Nothing
is dropped in silence: what a format does not know is kept, as an ``opaque`` part or a hidden
field, and counted in ``Findings``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from crdt_conv import HiddenField, Part

UNKNOWN: Final = "unknown"
"""The kind of hidden field that keeps what nobody understood."""


Blob = bytes | Callable[[], bytes]
"""The bytes of a file, or how to read them."""


class ImportRefused(Exception):
    """A file can't be imported; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Record:
    """One message; ``created`` is in milliseconds, 0 where the file does not say."""

    key: str
    parent: str | None
    role: str
    parts: tuple[Part, ...] = ()
    hidden: tuple[HiddenField, ...] = ()
    blobs: tuple[Blob, ...] = ()
    created: int = 0
    name: str = ""
    model: str | None = None
    usage: Mapping[str, Any] | None = None
    stop_reason: str | None = None
    status: str = "complete"


@dataclass(slots=True)
class Imported:
    """
    One conversation; ``current`` is the key of the message at which its reader last stood.

    ``fallback`` is when it was made, in milliseconds, for records without a time of their own.
    """

    program: str
    key: str
    title: str = ""
    records: list[Record] = field(default_factory=list)
    current: str | None = None
    fallback: int = 0


class Findings:
    """What was not understood, what was left out on purpose, and what could not be read, with how often."""

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.damaged: Counter[str] = Counter()

    def note_unknown(self, what: str) -> None:
        """Say that something was kept, and not understood."""
        self.unknown[what] += 1

    def leave_out(self, what: str) -> None:
        """Say that something is no part of a conversation, and was not taken along."""
        self.left_out[what] += 1

    def note_damaged(self, what: str) -> None:
        """Say that something is not whole, so that nothing of it could be taken along."""
        self.damaged[what] += 1


class Draft:
    """A record on its way: parts, and what is sealed into them, in order."""

    def __init__(self, program: str, findings: Findings) -> None:
        self._program = program
        self._findings = findings
        self.parts: list[Part] = []
        self.hidden: list[HiddenField] = []
        self.blobs: list[bytes] = []

    def add(self, part_type: str, **content: Any) -> str:
        """Add a part; returns its id."""
        part_id = f"p{len(self.parts)}"
        cleaned = {key: clean(value) for key, value in content.items() if value is not None}
        self.parts.append(Part(part_id, part_type, cleaned))
        return part_id

    def text(self, text: Any, part_type: str = "text") -> str | None:
        """Add a text, unless there is none; what should be one and is not is kept."""
        if isinstance(text, str):
            return self.add(part_type, text=text) if text else None
        if text not in (None, [], {}):
            self.keep(f"{part_type} that is none", text)
        return None

    def call(self, call_id: Any, name: Any, arguments: Any) -> str:
        """Add a tool call; arguments are JSON, or its text."""
        written = (
            arguments if isinstance(arguments, str) else compact(arguments if arguments is not None else {})
        )
        return self.add("tool_call", call_id=str(call_id or ""), name=str(name or ""), arguments=written)

    def result(self, call_id: Any, content: Any, *, is_error: bool = False) -> str:
        """Add the result of a tool call; what is no text is written as JSON."""
        written = content if isinstance(content, str) else compact(content)
        return self.add("tool_result", call_id=str(call_id or ""), content=written, is_error=is_error)

    def media(self, data: bytes, mime: str, name: str = "") -> str:
        """Add a file whose bytes are there."""
        self.blobs.append(data)
        sha256 = hashlib.sha256(data).hexdigest()
        return self.add("media", mime=mime, sha256=sha256, size=len(data), name=name)

    def missing_media(self, reference: str, *, mime: str = "", size: Any = 0, name: str = "") -> str:
        """Add a file of which there is only a name; ``reference`` is what the program calls it."""
        known = size if is_count(size) and size >= 0 else 0
        return self.add(
            "media", mime=mime or "application/octet-stream", size=known, name=name, source=reference
        )

    def seal(self, provider: str, kind: str, data: bytes | str, **rest: Any) -> None:
        """Seal a hidden field into the part that was added last, or the whole message."""
        at = rest.pop("at", self.parts[-1].id if self.parts else None)
        space = rest.pop("space", provider)
        self.hidden.append(HiddenField(provider, space, kind, data, at=at, **rest))

    def keep(self, what: str, value: Any) -> None:
        """Keep the place and the bytes of something that is not understood."""
        self._findings.note_unknown(what)
        self.add("opaque", kind=what)
        self.seal(self._program, UNKNOWN, compact(value).encode())

    def keep_keys(self, what: str, value: Mapping[str, Any], known: Collection[str]) -> None:
        """Keep the keys of an object that are not understood and not empty."""
        rest = {key: item for key, item in value.items() if key not in known and not _is_nothing(item)}
        for key in rest:
            self._findings.note_unknown(f"{what}.{key}")
        if rest:
            self.seal(self._program, UNKNOWN, compact(rest).encode(), at=None)

    def keep_rest(
        self, value: Mapping[str, Any], known: Collection[str], kind: str, at: str | None = None
    ) -> None:
        """Keep what else is known of a part, or of the whole message, and has no place of its own."""
        rest = {key: item for key, item in value.items() if key not in known and not _is_nothing(item)}
        if rest:
            self.seal(self._program, kind, compact(rest).encode(), at=at)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.parts and not self.hidden

    def record(self, key: str, parent: str | None, role: str, **rest: Any) -> Record:
        """Return the record."""
        if rest.get("usage") is not None:
            rest["usage"] = {name: count for name, count in rest["usage"].items() if is_count(count)} or None
        return Record(key, parent, role, tuple(self.parts), tuple(self.hidden), tuple(self.blobs), **rest)


def _is_nothing(value: Any) -> bool:
    return value is None or value in ("", [], {})


def keep_outer(imported: Imported, value: Mapping[str, Any], known: Collection[str]) -> None:
    """Keep what a program says of a conversation as a whole, with its first message."""
    draft = Draft(imported.program, Findings())
    draft.keep_rest(value, known, "conversation")
    if draft.hidden and imported.records:
        first = imported.records[0]
        imported.records[0] = replace(first, hidden=(*first.hidden, *draft.hidden))


def clean(value: Any) -> Any:
    """Return a text without halves of surrogate pairs, which no document can hold; anything else as it is."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_count(value: Any) -> bool:
    """Whether a value is a number that any document can hold."""
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) < 1 << 53


def compact(value: Any) -> str:
    """Return a value as JSON text that any document can hold."""
    return str(clean(json.dumps(value, ensure_ascii=False, separators=(",", ":"))))


def parsed(text: Any) -> Any:
    """Return the value of a JSON text, or nothing where it is none."""
    try:
        return json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError):
        return None


def milliseconds(value: Any) -> int:
    """Return a time of any kind in milliseconds; 0 where it is none."""
    if isinstance(value, str):
        value = _time(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e16:
        return 0
    # Seconds until the year 5138, and milliseconds from 1973 on.
    return int(value if value > 1e11 else value * 1000)


def _time(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000
    except (ValueError, OverflowError):
        return 0


def words(value: Any) -> str:
    """Return a text, or nothing where it is none."""
    return str(clean(value)) if isinstance(value, str) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, or nothing where it is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def an_object(value: Any) -> dict[str, Any]:
    """Return an object, an empty one where it is none."""
    return value if isinstance(value, dict) else {}
