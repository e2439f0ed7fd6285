"""
The one normalization between a merged log and every adapter.

Providers want turns: something to read from the system, then user and assistant
in alternation, the user last. A merged log has none of that for granted. What
is done here is the same for the same log every time, so that prefixes of
requests stay equal; and every change is told in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapters.errors import NothingToAnswer
from adapters.exchange import Note
from crdt_conv import Message

JOINT = "\n\n"
"""What stands between two messages that became one turn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: ``role`` is system, user or assistant; ``messages`` are the ids it was made from."""

    role: str
    text: str
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turns:
    """A log as a provider can read it."""

    turns: tuple[Turn, ...]
    left_out: tuple[Note, ...]
    repairs: tuple[Note, ...]


def normalize(log: Sequence[Message]) -> Turns:
    """
    Turn a log into turns: one system turn at most, first; then user and assistant alternate, user last.

    Raises:
        NothingToAnswer: No user turn is left at the end.
    """
    left_out: list[Note] = []
    repairs: list[Note] = []
    kept = list(_readable(log, left_out))
    system = [turn for turn in kept if turn.role == "system"]
    talk = _alternating([turn for turn in kept if turn.role != "system"], repairs)
    if talk and talk[0].role == "assistant":
        left_out.append(Note(talk[0].messages[0], "an answer with nothing before it"))
        talk = talk[1:]
    if not talk or talk[-1].role != "user":
        raise NothingToAnswer("there is nothing to answer: the log does not end with a user's message")
    return Turns((*_one_system(system, kept, repairs), *talk), tuple(left_out), tuple(repairs))


def _readable(log: Iterable[Message], left_out: list[Note]) -> Iterable[Turn]:
    for message in log:
        reason = _unreadable(message)
        if reason:
            left_out.append(Note(message.id, reason))
        elif message.role != "merge":
            kinds = {part.type for part in message.parts} - {"text", "reasoning"}
            if kinds:
                left_out.append(Note(message.id, f"parts this model is not sent: {', '.join(sorted(kinds))}"))
            yield Turn(message.role, message.text.strip(), (message.id,))


def _unreadable(message: Message) -> str:
    """Return why a message can't be a turn, or nothing."""
    if message.role == "merge":
        return ""
    if message.status == "redacted":
        return "it is redacted"
    if message.role not in ("system", "user", "assistant"):
        return f"messages of the role {message.role!r} are not sent yet"
    if not message.text.strip():
        return "it has no text"
    return ""


def _alternating(turns: Sequence[Turn], repairs: list[Note]) -> list[Turn]:
    """Join what stands next to its own kind."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            repairs.append(Note(turn.messages[0], f"joined to the {turn.role} message before it"))
            joined[-1] = _join(joined[-1], turn)
        else:
            joined.append(turn)
    return joined


def _one_system(system: Sequence[Turn], kept: Sequence[Turn], repairs: list[Note]) -> list[Turn]:
    """Bring system messages to the front, where every provider takes them."""
    for place, turn in enumerate(system):
        if kept[place] is not turn:
            repairs.append(
                Note(turn.messages[0], "a system message from within the log was moved to the front")
            )
    if not system:
        return []
    first = system[0]
    for turn in system[1:]:
        if turn.text != first.text:
            first = _join(first, turn)
    return [first]


def _join(first: Turn, second: Turn) -> Turn:
    return Turn(first.role, f"{first.text}{JOINT}{second.text}", (*first.messages, *second.messages))
