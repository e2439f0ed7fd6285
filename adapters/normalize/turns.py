"""A log as a provider can read it: turns, each call followed by its results. Pure values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from adapters.errors import NothingToAnswer
from adapters.exchange import Note, Tool
from crdt_conv import Message, Part


@dataclass(frozen=True, slots=True)
class Block:
    """
    One part of a turn, and the message it stands in.

    ``call_id`` is the one to send: unique in its message, where the part's own is not.
    """

    message: Message
    part: Part
    call_id: str = ""

    @property
    def type(self) -> str:
        """The part's type."""
        return self.part.type

    @property
    def text(self) -> str:
        """The part's text."""
        return self.part.text

    @property
    def name(self) -> str:
        """A call's name."""
        return str(self.part.content.get("name") or "unnamed")

    @property
    def arguments(self) -> str:
        """A call's arguments, JSON text as the model wrote it."""
        arguments = self.part.content.get("arguments")
        return arguments if isinstance(arguments, str) and arguments.strip() else "{}"


@dataclass(frozen=True, slots=True)
class Result:
    """
    What came of one call. ``message`` is nothing where the call was never answered.

    ``text`` is what it says by itself; ``blocks`` are the texts, pictures and files that came with it.
    """

    call_id: str
    name: str
    text: str
    is_error: bool = False
    message: Message | None = None
    part: Part | None = None
    blocks: tuple[Block, ...] = ()

    @property
    def whole_text(self) -> str:
        """All that it says."""
        said = (block.text for block in self.blocks if block.type == "text")
        return "\n".join(filter(None, (self.text, *said)))

    @property
    def media(self) -> tuple[Block, ...]:
        """What is no text."""
        return tuple(block for block in self.blocks if block.type != "text")


@dataclass(frozen=True, slots=True)
class Turn:
    """
    One message of a log, or the results of the calls in the turn before.

    ``role`` is system, user, assistant or tool. A ``tool`` turn has ``results``: one for each
    call of the assistant turn right before it, in their order. Every other has ``blocks``.
    """

    role: str
    blocks: tuple[Block, ...] = ()
    results: tuple[Result, ...] = ()
    message: Message | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(block.text for block in self.blocks if block.type in ("text", "summary"))

    @property
    def calls(self) -> tuple[Block, ...]:
        """Its calls."""
        return tuple(block for block in self.blocks if block.type == "tool_call")


@dataclass(frozen=True, slots=True)
class Turns:
    """
    A log as every provider can read it.

    System turns may stand anywhere but between calls and results; the first of all others is
    the user's; every assistant turn with calls is followed by its results. No turn is
    empty. Turns of one role may follow each other: see ``joined``.
    """

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    left_out: tuple[Note, ...] = ()
    repairs: tuple[Note, ...] = ()
    sent: int = 0
    """How many messages of the log are in it."""

    @property
    def lead(self) -> tuple[Turn, ...]:
        """The system turns before all others."""
        return self.turns[: self._begin()]

    @property
    def talk(self) -> tuple[Turn, ...]:
        """All turns after those; system turns among them."""
        return self.turns[self._begin() :]

    def _begin(self) -> int:
        return next((at for at, turn in enumerate(self.turns) if turn.role != "system"), len(self.turns))

    def check_answerable(self, *, is_pause_answerable: bool = False) -> None:
        """
        Refuse a log that does not end with something to answer.

        Raises:
            NothingToAnswer: It ends with an answer, or says nothing at all.
        """
        last = next((turn for turn in reversed(self.turns) if turn.role != "system"), None)
        stop_reason = last.message.stop_reason if last is not None and last.message is not None else None
        if last is None or (
            last.role == "assistant" and not (is_pause_answerable and stop_reason == "pause")
        ):
            raise NothingToAnswer("there is nothing to answer: the log does not end with a user's message")


def joined(turns: Sequence[Turn], *, same: Sequence[Sequence[str]] = ()) -> Iterator[list[Turn]]:
    """
    Yield turns of one role that follow each other together.

    Args:
        turns: Turns in their order.
        same: Roles that are one to the provider, ``["user", "tool"]`` say.
    """
    side = {role: roles[0] for roles in same for role in roles}
    for _, group in groupby(turns, key=lambda turn: side.get(turn.role, turn.role)):
        yield list(group)
