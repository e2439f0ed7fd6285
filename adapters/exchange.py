"""
What goes between the log and a provider: requests, reports, operations, and the port of an adapter.

An adapter is two pure functions around one call, so that everything but the
call is tested with no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import rfc8785

from crdt_conv import Message, Target

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Request:
    """The exact JSON for a provider, and where it goes."""

    path: str
    body: Mapping[str, Json]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical body (RFC 8785), in hex."""
        return hashlib.sha256(rfc8785.dumps(dict(self.body))).hexdigest()


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that was left out or mended, and why, in words for people. ``about`` is an id or a name."""

    about: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """Return it as JSON."""
        return {"about": self.about, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Report:
    """What a request holds: how many messages of the log, what was left out, what was mended."""

    materializer: str
    sent: int
    left_out: tuple[Note, ...] = ()
    repairs: tuple[Note, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {
            "materializer": self.materializer,
            "messages": self.sent,
            "left_out": [note.as_json() for note in self.left_out],
            "repairs": [note.as_json() for note in self.repairs],
        }


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More readable reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer; ``usage`` is plain JSON with the counts that the provider gave."""

    stop_reason: str
    usage: Mapping[str, Json] = field(default_factory=dict)


Operation: TypeAlias = TextDelta | ReasoningDelta | Finished


class Ingest(Protocol):
    """Turns the events of one answer into operations. Pure but for what it remembers."""

    def feed(self, event: Mapping[str, Json]) -> Sequence[Operation]:
        """
        Take one event of the provider.

        Raises:
            AdapterError: The event is an error.
        """

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream.

        Raises:
            StreamBroken: It came too early.
        """


class Adapter(Protocol):
    """A provider, as the executor sees it."""

    @property
    def name(self) -> str:
        """What ``Target.adapter`` calls it."""

    @property
    def model(self) -> str:
        """The model it answers with, where a target leaves that open."""

    @property
    def at_once(self) -> int:
        """How many answers it can give at the same time."""

    def materialize(self, log: Sequence[Message], target: Target) -> tuple[Request, Report]:
        """
        Turn a log into a request. Pure.

        Raises:
            NothingToAnswer: Nothing in it can be answered.
        """

    def ingest(self) -> Ingest:
        """Begin to read an answer."""

    def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Json], None]:
        """
        Make the call, and yield the provider's events; closing it ends the call.

        Raises:
            AdapterError: The call failed.
        """

    async def serve(self) -> None:
        """Keep what the calls need, a process say, until cancelled."""
