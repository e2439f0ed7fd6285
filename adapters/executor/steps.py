"""
What a run does next, read from the document alone: so whoever takes it over goes on there.

An answer that calls tools is followed by their results, those by another answer; an answer
that paused is followed by the rest of it. What broke off stands beside, and is begun again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from crdt_conv import Conversation, Message, MessageId, Part, Run, Target
from crdt_conv.messages.message import REDACTED

PAUSE: Final = "pause"
TOOL_CALLS: Final = "tool_calls"


@dataclass(frozen=True, slots=True)
class Answer:
    """Ask the model. ``broken_off`` is what came of an earlier try; ``rounds`` were whole before."""

    parents: tuple[MessageId, ...]
    broken_off: Message | None = None
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class CallTools:
    """Make the calls of an answer. ``results`` is the message that has some of their results already."""

    answer: Message
    results: Message | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Nothing: the run is over, and this is its state."""

    state: str


Step: TypeAlias = Answer | CallTools | End


def next_step(conversation: Conversation, run: Run) -> Step:
    """Return what a run does next."""
    outputs = conversation.messages([output for output in run.outputs if output in conversation.graph])
    if outputs and outputs[-1].status == REDACTED:
        # Taken out while it was being written, or answered: nobody is to pay for the rest.
        return End("cancelled")
    whole = [output for output in outputs if output.is_complete or _is_growing(output)]
    rounds = sum(output.role == "assistant" for output in whole)
    broken_off = next((output for output in outputs[-1:] if output.status == "interrupted"), None)
    if not whole:
        return Answer(run.parents, broken_off)
    if any(_is_last(output) for output in whole):
        # Also where another owner, cut off from this one, is in the middle of its own.
        return End("complete")
    last = whole[-1]
    if _is_growing(last):
        answer = conversation.message(last.parents[0])
        return End("cancelled") if answer.status == REDACTED else CallTools(answer, last)
    if last.role == "assistant" and last.stop_reason != PAUSE:
        return CallTools(last, _results(conversation, run, last))
    return Answer((last.id,), broken_off, rounds)


def unforced(target: Target) -> Target:
    """
    Return a target that forces no call of a tool.

    Who forces one wants it called, not called until the run is ended: every answer would be a call.
    """
    params = {key: value for key, value in target.params.items() if not _forces(key, value)}
    return replace(target, params=params) if len(params) < len(target.params) else target


def _forces(key: str, value: object) -> bool:
    if key in ("toolConfig", "tool_config"):
        return '"ANY"' in json.dumps(value)
    kind = value.get("type") if isinstance(value, dict) else value
    return key == "tool_choice" and kind not in ("auto", "none")


def calls_of(message: Message) -> list[Part]:
    """Return the calls that a message makes."""
    return [part for part in message.parts if part.type == "tool_call"]


def _is_last(message: Message) -> bool:
    """Whether the model has said everything with a whole answer."""
    calls_tools = message.stop_reason == TOOL_CALLS and calls_of(message)
    return message.role == "assistant" and message.stop_reason != PAUSE and not calls_tools


def _is_growing(message: Message) -> bool:
    return message.role == "tool" and message.status == "streaming"


def _results(conversation: Conversation, run: Run, answer: Message) -> Message | None:
    """Return the message with an answer's results, where whoever began it died before the run named it."""
    if not any(call.message == answer.id for call in run.calls):
        return None
    begun = (node.id for node in conversation.graph if node.role == "tool" and node.parents == (answer.id,))
    found = [message for message in map(conversation.message, begun) if message.run == run.id]
    return found[0] if found else None
