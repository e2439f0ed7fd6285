"""
What an operation is: one line of the table that both serves and describes the API.

Each resource's module holds its handlers and, at its end, its ``OPERATIONS``. What stands
there is enforced: parameters and bodies are checked against it before a handler is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from starlette.types import ASGIApp

from syncd.auth import Right

if TYPE_CHECKING:
    from syncd.api.call import Call

Schema: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = "Callable[[Call], Awaitable[ASGIApp]]"

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
EVENTS: Final = "text/event-stream"
LINES: Final = "application/jsonl"
JSON_BYTES: Final = 1024 * 1024
"""How long a JSON body may be, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, or with ``place`` ``header`` a header: a string, or a whole number."""

    name: str
    schema: Schema
    description: str
    place: str = "query"
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: JSON of a schema, or bytes where there is none."""

    schema: Schema | None = None
    limit_bytes: int = JSON_BYTES
    is_required: bool = True

    @property
    def media(self) -> str:
        """Its media type."""
        return OCTETS if self.schema is None else JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which an operation ends well; ``schema`` is that of its JSON, or of an event's data."""

    description: str
    schema: Schema | None = None
    media: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One method of one path below ``/api``.

    ``right`` is what the caller needs: in the conversation, where the path or a parameter names
    one, else in the whole server; ``None`` where the handler itself looks at what the caller may do,
    and ``note`` says what that is.
    """

    name: str
    method: str
    path: str
    summary: str
    handler: Handler
    right: Right | None
    answers: Mapping[int, Answer]
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    note: str = ""
    refusals: Sequence[int] = ()
    """Statuses of problems that are not every operation's."""

    @property
    def path_names(self) -> list[str]:
        """The names in its path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]
