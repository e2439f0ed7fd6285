"""
Going on where the last request ended: a log that grew by a message costs what that message costs.

Turns up to the last answer never change while the log goes on (``Normalizer``), so what an adapter
has written for them is kept, and each request adds what comes behind to a fork of it. Kept is what
was made of the same messages, for the same key (place, tools, system prompt), with
nothing missing; anything else is made anew. So the result is the same as without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from adapters.exchange import Hidden, Note, SentField, Tool
from adapters.normalize.media import is_waiting
from adapters.normalize.normalizer import Normalizer
from adapters.normalize.turns import Turn, Turns
from adapters.spaces import Place
from crdt_conv import Message

KEPT = 4
"""So many logs are kept: the branches that are written on now."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before all talk: system turns, and the tools in force."""

    lead: tuple[Turn, ...]
    tools: tuple[Tool, ...]


class Writer(ABC):
    """Writes what one request says, turn by turn, and notes what became of the log."""

    def __init__(self, place: Place, hidden: Hidden) -> None:
        """Write nothing yet, for this place."""
        self.written: list[dict[str, Any]] = []
        self.left_out: list[Note] = []
        self.repairs: list[Note] = []
        self.sent: list[SentField] = []
        self._place = place
        self.use(hidden)

    @abstractmethod
    def add(self, turn: Turn, before: str, after: str) -> None:
        """Write a turn; the roles beside it, but for system's, are named, or empty."""

    def use(self, hidden: Hidden) -> None:
        """Ask these for hidden fields and blobs from here on."""
        self._hidden = hidden

    def fork(self) -> Self:
        """Return a writer that goes on from here, and leaves this one as it is."""
        forked = copy(self)
        forked.detach()
        return forked

    def detach(self) -> None:
        """Go on with lists of its own."""
        self.written, self.sent = [*self.written], [*self.sent]
        self.left_out, self.repairs = [*self.left_out], [*self.repairs]
        self.use(self._hidden)


W = TypeVar("W", bound=Writer)


@dataclass(slots=True)
class _Kept(Generic[W]):
    """What was made of a log."""

    key: Any
    log: list[Message]
    normalizer: Normalizer
    head: Head
    beginning: int
    written: int
    writer: W


class Progress(Generic[W]):
    """What an adapter remembers of the logs that it made requests of."""

    def __init__(self) -> None:
        self._kept: list[_Kept[W]] = []

    def follow(
        self, log: Sequence[Message], key: Any, hidden: Hidden, make: Callable[[Head], W]
    ) -> tuple[W, Turns]:
        """
        Return a writer that has written a whole log, and its turns.

        Args:
            log: The log.
            key: What else decides what is written; compared by ``==``.
            hidden: The log's hidden fields and blobs.
            make: Makes a writer that has written nothing.
        """
        log = list(log)
        kept = self._find(log, key)
        normalizer = kept.normalizer if kept is not None else Normalizer()
        for message in log[len(kept.log) if kept is not None else 0 :]:
            normalizer.add(message)
        turns = normalizer.turns()
        head = Head(turns.lead, turns.tools)
        if kept is None or kept.head != head or kept.beginning != normalizer.beginning:
            kept = _Kept(key, [], normalizer, head, normalizer.beginning, len(head.lead), make(head))
        kept.writer.use(hidden)
        settled = _settled(turns.turns)
        is_whole = not any(is_waiting(turn, hidden) for turn in turns.turns[kept.written : settled])
        _write(kept.writer, turns.turns, kept.written, settled)
        kept.written = max(kept.written, settled)
        kept.log = log
        writer = kept.writer.fork()
        _write(writer, turns.turns, kept.written, len(turns.turns))
        if is_whole:
            self._kept = [kept, *self._kept][:KEPT]
        return writer, turns

    def _find(self, log: list[Message], key: Any) -> _Kept[W] | None:
        """Take out what was made of the longest beginning of a log."""
        # Messages are the same objects, mostly: comparing two lists of them is quick.
        fitting = [kept for kept in self._kept if kept.key == key and log[: len(kept.log)] == kept.log]
        found = max(fitting, key=lambda kept: len(kept.log), default=None)
        if found is not None:
            self._kept.remove(found)
        return found


def _settled(turns: Sequence[Turn]) -> int:
    """Return how many turns, up to the last answer, no message can change any more."""
    backwards = range(len(turns) - 1, -1, -1)
    return next((at + 1 for at in backwards if turns[at].role == "assistant"), 0)


def _write(writer: Writer, turns: Sequence[Turn], start: int, end: int) -> None:
    for at in range(start, end):
        writer.add(turns[at], _role_beside(turns, at, -1), _role_beside(turns, at, 1))


def _role_beside(turns: Sequence[Turn], at: int, step: int) -> str:
    at += step
    while 0 <= at < len(turns) and turns[at].role == "system":
        at += step
    return turns[at].role if 0 <= at < len(turns) else ""
