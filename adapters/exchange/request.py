"""What goes out: the exact request, and the report that says what became of the log."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any

SEPARATORS: Final = (",", ":")


def encode_json(value: Json) -> bytes:
    """Return a JSON value as every request is written: compact, keys in their order, UTF-8."""
    # Half a surrogate pair is no text in UTF-8; escaped, every server reads it as it was.
    return json.dumps(value, ensure_ascii=False, separators=SEPARATORS).encode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Request:
    """
    The exact JSON for a provider, and where it goes.

    ``path`` stands behind the adapter's base URL; ``headers`` are none that hold a
    key. ``prefix`` is the digest of the conversation as it is sent, to which hidden
    fields of the answer are bound (``adapters.prefix``). ``salt`` keeps anybody from
    testing guesses at a redacted text with the digest that stays on record; it may be a function,
    since few requests of a long log are asked for it.
    """

    path: str
    body: Mapping[str, Json] | None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    prefix: str | None = None
    salt: bytes | Callable[[], bytes] = b""

    @property
    def content(self) -> bytes:
        """The body's bytes, as they are sent."""
        return b"" if self.body is None else encode_json(dict(self.body))

    @property
    def digest(self) -> str:
        """SHA-256 of the salt and the body's bytes, in hex."""
        salt = self.salt if isinstance(self.salt, bytes) else self.salt()
        return hashlib.sha256(salt + self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that was left out or mended, and why, in words for people. ``about`` is an id or a name."""

    about: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """Return it as JSON."""
        return {"about": self.about, "reason": self.reason}


def _told(notes: Iterable[Note]) -> list[Json]:
    """Return notes as JSON: a message is named once, with every reason once."""
    reasons: dict[str, dict[str, None]] = {}
    for note in notes:
        reasons.setdefault(note.about, {})[note.reason] = None
    return [Note(about, "; ".join(told)).as_json() for about, told in reasons.items()]


@dataclass(frozen=True, slots=True)
class SentField:
    """A hidden field that went along: of which message and part, and what it is."""

    message: str
    at: str | None
    kind: str
    space: str
    binding: str = "self"


@dataclass(frozen=True, slots=True)
class Reported:
    """
    What only the call itself could tell, to be added to the report of what was sent.

    How many tokens a log has, say, is known where the model is; so is what was too much.
    An operation like those of an answer.
    """

    left_out: tuple[Note, ...] = ()
    repairs: tuple[Note, ...] = ()
    reused: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """
    What a request holds: how many messages of the log, what was left out, what was mended.

    ``hidden`` are the hidden fields that went along; ``reused`` says what state of
    the provider's is used: ``{"cache_points": 2}``, ``{"previous_response": id}``.
    """

    materializer: str
    sent: int
    left_out: tuple[Note, ...] = ()
    repairs: tuple[Note, ...] = ()
    hidden: tuple[SentField, ...] = ()
    reused: Mapping[str, Json] = field(default_factory=dict)

    def with_added(self, more: Reported) -> Report:
        """Return it with what the call itself has told; what it reuses, it says for all."""
        return replace(
            self,
            left_out=(*self.left_out, *more.left_out),
            repairs=(*self.repairs, *more.repairs),
            reused={**self.reused, **more.reused},
        )

    def as_json(self) -> dict[str, Json]:
        """Return it as a run keeps it: of hidden fields sent, how many of each kind."""
        shown: dict[str, Json] = {
            "materializer": self.materializer,
            "messages": self.sent,
            "left_out": _told(self.left_out),
            "repairs": _told(self.repairs),
        }
        if self.hidden:
            shown["hidden"] = dict(sorted(Counter(sent.kind for sent in self.hidden).items()))
        if self.reused:
            shown["reused"] = dict(self.reused)
        return shown
