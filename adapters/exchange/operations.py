"""
What an answer does, in the order in which it comes: the events of every provider end as these.

Parts are addressed by a ``key`` of the ingest's choosing, unique within one answer, so
that several may grow by turns. Who has only text and reasoning uses ``TextDelta`` and
``ReasoningDelta``: they go to the last part, if it is of their type, and else begin one.
Hidden fields stand beside the part that they came with. What fails is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from adapters.exchange.request import Json, Reported
from adapters.exchange.usage import Usage
from crdt_conv import HiddenField


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More readable reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Begun:
    """
    A part begins: ``text``, ``reasoning``, ``tool_call`` or ``opaque``.

    ``content`` holds its further keys, ``call_id`` and ``name`` of a call say. A call
    without a ``call_id`` gets one of its own.
    """

    key: str
    type: str
    content: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grown:
    """More of the part ``key``: of its text, or of a call's arguments."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Annotated:
    """What the part ``key`` is said to rest on: ``values`` become further keys, ``citations`` say."""

    key: str
    values: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class MediaDelta:
    """A whole picture, sound or file of the answer."""

    key: str
    mime: str
    data: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A hidden field of the part ``key``, or of the whole message; the field's own ``at`` is filled in."""

    field: HiddenField
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """
    The end of an answer.

    ``stop_reason`` is one of ``STOP_REASONS``, or a provider's own word for what is none of them.
    ``model`` is the one that answered, where the provider says so.
    """

    stop_reason: str
    usage: Usage | Mapping[str, Json] = field(default_factory=Usage)
    model: str | None = None


Operation: TypeAlias = (
    TextDelta | ReasoningDelta | Begun | Grown | Annotated | MediaDelta | Sealed | Reported | Finished
)
