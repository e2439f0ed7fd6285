"""
From a merged log to turns, one message after another.

Rules. A call is *open* until its result comes or another answer is written behind it;
then it gets an "interrupted" result, and what comes later finds no call. What people write
meanwhile is *held* and stands behind the results. So nothing that was sent with an answer
is changed by what comes behind that answer.

A ``summary`` replaces the talk of its own ancestry. System prompts and tools stay in
force: a summary is of what was said. What was written beside it, on another device, stands behind it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from adapters.exchange import Note
from adapters.normalize.ancestry import ancestors
from adapters.normalize.offer import Offer
from adapters.normalize.turns import Block, Result, Turn, Turns
from crdt_conv import Message, Part

INTERRUPTED = "interrupted: this call has no result"
NO_BEGINNING = "(the conversation begins with an answer)"

_UNFINISHED = frozenset({"streaming", "interrupted", "failed", "cancelled"})
_SPOKEN = frozenset({"text", "media", "opaque", "summary"})


def normalize(log: Sequence[Message]) -> Turns:
    """Return a log as turns that satisfy what every provider demands; see ``Turns``."""
    normalizer = Normalizer()
    for message in log:
        normalizer.add(message)
    return normalizer.turns()


class Normalizer:
    """Takes in a log message by message; ``turns`` says at any time what has come of it."""

    def __init__(self) -> None:
        self._seen: dict[str, Message] = {}
        self._offer = Offer()
        self.beginning = 0
        """Grows whenever a summary makes all turns new."""
        self._begin()

    def _begin(self) -> None:
        self._done: list[Turn] = []
        self._open: list[Block] = []
        self._results: dict[str, Result] = {}
        self._held: list[Turn] = []
        self._calls = 0
        self._systems: set[str] = set()
        self._left_out: list[Note] = []
        self._repairs: list[Note] = []
        self._has_talk = False
        self._sent = 0

    def turns(self) -> Turns:
        """Return the log so far."""
        closing, repairs = self._closing()
        return Turns(
            (*self._done, *closing, *self._held),
            self._offer.tools,
            (*self._left_out, *self._offer.left_out),
            (*self._repairs, *repairs),
            self._sent + len({r.message.id for r in self._results.values() if r.message is not None}),
        )

    def add(self, message: Message) -> None:
        """Take in the next message."""
        self._seen[message.id] = message
        if message.role == "merge":
            return
        if message.status == "redacted":
            self._leave_out(message, "it is redacted")
        elif message.role not in ("system", "user", "assistant", "tool"):
            self._leave_out(message, f"messages of the role {message.role!r} are not understood")
        elif message.status == "complete" and any(map(_is_summary, message.parts)):
            self._summarize(message)
        else:
            getattr(self, f"_add_{message.role}")(message)

    # One message

    def _add_system(self, message: Message) -> None:
        is_offer = self._offer.take(message, self._seen)
        blocks = self._spoken(message, {"text", "opaque"})
        turn = Turn("system", blocks, message=message)
        is_own = any(block.type == "opaque" for block in blocks)
        if not turn.text.strip() and not is_own:
            if not is_offer:
                self._leave_out(message, "it has no text")
        elif turn.text in self._systems and not is_own:
            self._repair(message, "left out: the same system message stands before it")
        else:
            self._systems.add(turn.text)
            self._push(turn)

    def _add_user(self, message: Message) -> None:
        blocks = self._spoken(message, _SPOKEN)
        if _is_blank(blocks) and not any(block.type == "opaque" for block in blocks):
            self._leave_out(message, "it has no text")
        else:
            self._push(Turn("user", blocks, message=message))

    def _add_assistant(self, message: Message) -> None:
        blocks = self._answered(message)
        if _is_blank(blocks) and not any(block.type in ("reasoning", "opaque") for block in blocks):
            self._leave_out(message, "it has no text")
            return
        self._close()
        if not self._has_talk:
            self._repair(message, "a user message was put before it: no provider begins with an answer")
            part = Part("beginning", "text", {"text": NO_BEGINNING})
            self._push(Turn("user", (Block(message, part),)))
        if message.status in _UNFINISHED:
            self._repair(message, f"the answer is {message.status}: what had come of it is sent")
        self._push(Turn("assistant", blocks, message=message))
        self._open = [block for block in blocks if block.type == "tool_call"]

    def _add_tool(self, message: Message) -> None:
        result: Result | None = None
        for part in message.parts:
            if part.type == "tool_result":
                result = self._answer(message, part)
            elif part.type in ("media", "opaque", "text") and result is not None:
                if part.text or part.type != "text":
                    result = replace(result, blocks=(*result.blocks, Block(message, part)))
                    self._results[result.call_id] = result
            else:
                self._leave_out(message, f"a part {part.type!r} that belongs to no result")

    def _answer(self, message: Message, part: Part) -> Result | None:
        call_id = part.content.get("call_id")
        calls = [block for block in self._open if block.part.content.get("call_id") == call_id]
        unanswered = [block for block in calls if block.call_id not in self._results]
        if not unanswered:
            told = "a second result for its call" if calls else "a result that no call waits for"
            self._leave_out(message, told)
            return None
        call = unanswered[0]
        text, is_error = _text_of(part.content.get("content")), part.content.get("is_error") is True
        result = Result(call.call_id, call.name, text, is_error, message, part)
        self._results[call.call_id] = result
        return result

    def _summarize(self, message: Message) -> None:
        """Begin again with a summary; what it does not know of comes behind it."""
        covered = ancestors(message, self._seen)
        kept = [seen for seen in self._seen.values() if seen.id != message.id]
        rest = [seen for seen in kept if seen.role == "system" or seen.id not in covered]
        count = len(kept) - len(rest)
        self._begin()
        self.beginning += 1
        self._seen, self._offer = {}, Offer()
        for seen in (seen for seen in rest if seen.role == "system" and seen.id in covered):
            self.add(seen)
        self._repair(message, f"its summary stands for {count} messages before it")
        self._push(Turn("user", self._spoken(message, _SPOKEN), message=message))
        for seen in (seen for seen in rest if seen.role != "system" or seen.id not in covered):
            self.add(seen)
        # Who comes later may have any of them among its ancestors.
        self._seen = {seen.id: seen for seen in (*kept, message)}

    # Parts

    def _spoken(self, message: Message, types: Iterable[str]) -> tuple[Block, ...]:
        known = {*types, "tools"} if message.role == "system" else set(types)
        odd = sorted({part.type for part in message.parts} - known)
        if odd:
            self._leave_out(message, f"parts that a {message.role} does not send: {', '.join(odd)}")
        return tuple(
            Block(message, part)
            for part in message.parts
            if part.type in types and (part.text or part.type in ("media", "opaque"))
        )

    def _answered(self, message: Message) -> tuple[Block, ...]:
        blocks: list[Block] = []
        for part in message.parts:
            if part.type == "tool_call":
                if message.status in _UNFINISHED and not _is_json_object(part.content.get("arguments")):
                    self._leave_out(message, "a call that was not written to its end")
                else:
                    taken = {block.call_id for block in blocks}
                    blocks.append(Block(message, part, self._unique(message, part, taken)))
            elif part.type == "text" and not part.text:
                continue
            elif part.type in ("text", "reasoning", "opaque", "media"):
                blocks.append(Block(message, part))
            else:
                self._leave_out(message, f"parts that an assistant does not send: {part.type}")
        return tuple(blocks)

    def _unique(self, message: Message, part: Part, taken: Collection[str]) -> str:
        """Return a call's id, another one where its message has it already. Other messages may have it."""
        given = part.content.get("call_id")
        self._calls += 1
        call_id = base = given if isinstance(given, str) and given else f"call_{self._calls}"
        while call_id in taken:
            call_id = f"{base}_{self._calls}"
            base = call_id
        if call_id != given:
            self._repair(message, "a call got an id of its own: another has the same, or it has none")
        return call_id

    # Turns

    def _push(self, turn: Turn) -> None:
        self._has_talk = self._has_talk or turn.role != "system"
        self._sent += turn.message is not None
        (self._held if self._open else self._done).append(turn)

    def _closing(self) -> tuple[list[Turn], list[Note]]:
        """Return the results of the open calls, and what had to be made up for them."""
        if not self._open:
            return [], []
        missing = [call for call in self._open if call.call_id not in self._results]
        made_up = {
            call.call_id: Result(call.call_id, call.name, INTERRUPTED, is_error=True) for call in missing
        }
        notes = [
            Note(call.message.id, "a call without a result: it is told that it was interrupted")
            for call in missing
        ]
        found = {**self._results, **made_up}
        return [Turn("tool", results=tuple(found[call.call_id] for call in self._open))], notes

    def _close(self) -> None:
        """End the open calls: an answer comes behind them."""
        closing, repairs = self._closing()
        self._sent += len({r.message.id for r in self._results.values() if r.message is not None})
        self._done += [*closing, *self._held]
        self._repairs += repairs
        self._open, self._results, self._held = [], {}, []

    # Notes

    def _leave_out(self, message: Message, reason: str) -> None:
        self._left_out.append(Note(message.id, reason))

    def _repair(self, message: Message, reason: str) -> None:
        self._repairs.append(Note(message.id, reason))


def _is_summary(part: Part) -> bool:
    # One that says nothing stands for nothing.
    return part.type == "summary" and bool(part.text.strip())


def _is_blank(blocks: Sequence[Block]) -> bool:
    return not any(block.text.strip() or block.type in ("media", "tool_call") for block in blocks)


def _is_json_object(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    return "" if content is None else json.dumps(content, ensure_ascii=False)
