"""
From a request's messages to entries for one model: with its own tokens, in its template's form. Pure.

And which of them are left out where they are too many: whole units, a question with its
answer, its calls and their results, the oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from adapters.exchange import Note
from adapters.llamacpp.materialize import JOINT
from adapters.llamacpp.prompt import Answered, Entry, Piece
from adapters.llamacpp.toolcalls import as_text, explanation

Json: TypeAlias = Any

PER_MESSAGE: Final = 16
"""Tokens that a template writes around a message, generously."""

_FOR_TEMPLATE = ("role", "content", "tool_call_id", "name")
_ONLY_AS_TEXT = ("tool_calls", "reasoning_content")


@dataclass(frozen=True, slots=True)
class Entries:
    """
    What the template gets, and what is to be said about it.

    ``begun`` is an answer to go on with: its ids, and text behind them that has none.
    """

    entries: tuple[Entry, ...]
    repairs: tuple[Note, ...] = ()
    begun: tuple[tuple[int, ...], str] = ((), "")


def entries_of(body: Mapping[str, Json], space: str, *, is_native: bool) -> Entries:
    """
    Return a request's messages as entries.

    Args:
        body: The request's.
        space: The model's key space: whose tokens it can read.
        is_native: Whether its template writes tools and calls itself.
    """
    messages = [dict(message) for message in body["messages"]]
    begun = messages.pop()["turns"][-1] if body["continues"] else None
    repairs: list[Note] = []
    entries: list[Entry] = []
    for message in messages:
        turns = message.pop("turns", [])
        pieces = _pieces(turns, space, repairs)
        written = message if is_native else as_text(message)
        fields = {key: written[key] for key in _FOR_TEMPLATE if key in written}
        plain = {key: written[key] for key in _ONLY_AS_TEXT if key in written}
        entries.append(Entry(fields, pieces, plain, tuple(message["about"]), message["role"] == "user"))
    if body["tools"] and not is_native:
        entries = _explained(entries, explanation(body["tools"]))
    gone_on_with = _begun(begun, space, repairs)
    return Entries(tuple(_alternating(entries)), tuple(repairs), gone_on_with)


def _pieces(turns: Sequence[Mapping[str, Json]], space: str, repairs: list[Note]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for turn in turns:
        known = turn["tokens"].get(space)
        why = known["why"] if known is not None else turn["why"] or "its token ids are another model's"
        if why:
            repairs.append(Note(turn["about"], f"tokenized again: {why}"))
        if pieces and (known is not None or turn["text"]):
            pieces.append(JOINT)
        if known is not None:
            prompt, salt = bytes.fromhex(known["prompt"]), bytes.fromhex(turn["salt"])
            pieces.append(Answered(tuple(known["ids"]), prompt, salt))
        text = turn["text"] if known is None else known["rest"]
        if text:
            pieces.append(text)
    return tuple(pieces) if any(isinstance(piece, Answered) for piece in pieces) else ()


def _explained(entries: Sequence[Entry], text: str) -> list[Entry]:
    """Put an explanation behind the system message, or in its place."""
    if entries and entries[0].role == "system":
        content = f"{entries[0].fields['content']}{JOINT}{text}"
        return [replace(entries[0], fields={"role": "system", "content": content}), *entries[1:]]
    return [Entry({"role": "system", "content": text}), *entries]


def _begun(turn: Mapping[str, Json] | None, space: str, repairs: list[Note]) -> tuple[tuple[int, ...], str]:
    if turn is None:
        return (), ""
    known = turn["tokens"].get(space)
    repairs.append(Note(turn["about"], "it broke off: this answer begins with what had come of it"))
    return (tuple(known["ids"]), known["rest"]) if known is not None else ((), turn["raw"])


def _alternating(entries: Sequence[Entry]) -> list[Entry]:
    """Join users' entries that follow each other: results that became text."""
    joined: list[Entry] = []
    for entry in entries:
        if joined and entry.role == "user" == joined[-1].role:
            last = joined[-1]
            content = f"{last.fields['content']}\n{entry.fields['content']}"
            fields = {"role": "user", "content": content}
            joined[-1] = replace(last, fields=fields, about=(*last.about, *entry.about))
        else:
            joined.append(entry)
    return joined


# What is too much


def units_of(entries: Sequence[Entry]) -> tuple[int, list[list[Entry]]]:
    """Return how many entries stand before all questions, and the rest in units that begin with one."""
    first = next((at for at, entry in enumerate(entries) if entry.role != "system"), len(entries))
    units: list[list[Entry]] = []
    for entry in entries[first:]:
        if entry.is_question or not units:
            units.append([])
        units[-1].append(entry)
    return first, units


def to_drop(sizes: Sequence[int], limit: int) -> int:
    """
    Return how many of the oldest units have to go; the last one never does.

    It is found by walking through the log as it grew, and each time half the room is made: so a
    log that goes on drops nothing more for a while, and its prompts keep their beginning.

    Args:
        sizes: Of each unit, in tokens.
        limit: How many fit.

    Example:
        >>> [to_drop([10] * count, 45) for count in range(1, 9)]
        [0, 0, 0, 0, 3, 3, 3, 6]
    """
    dropped = total = 0
    for at, size in enumerate(sizes):
        total += size
        if total <= limit:
            continue
        while total > limit // 2 and dropped < at:
            total -= sizes[dropped]
            dropped += 1
    return dropped
