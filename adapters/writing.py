"""
Writing an answer's operations into a message of a conversation, in batches. Times are arguments.

One update a token makes the log seven times the text; one every 30 ms, little more
than the text. The first piece of all is due at once: somebody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, assert_never

from adapters.exchange import (
    Annotated,
    Begun,
    Finished,
    Grown,
    MediaDelta,
    Operation,
    ReasoningDelta,
    Reported,
    Sealed,
    TextDelta,
    Usage,
)
from crdt_conv import Conversation, HiddenField, Message, MessageWriter, Part, new_id, new_part

BATCH_S = 0.03

_GROWS = {"text": "text", "reasoning": "text", "tool_call": "arguments"}


class AnswerWriter:
    """
    Writes one answer.

    ``begin`` makes the message when the first operation is written: an answer that
    fails before that leaves none.
    """

    def __init__(
        self, conversation: Conversation, begin: Callable[[], MessageWriter], *, batch_s: float = BATCH_S
    ) -> None:
        self._conversation = conversation
        self._begin = begin
        self._batch_s = batch_s
        self._message: MessageWriter | None = None
        self._ids: dict[str, str] = {}
        self._last: tuple[str, str] = ("", "")
        self._new: list[Part] = []
        self._more: dict[str, list[str]] = {}
        self._values: dict[str, dict[str, Any]] = {}
        self._sealed: list[HiddenField] = []
        self._is_first = True
        self.finished: Finished | None = None
        self.reported: list[Reported] = []
        """What is to be added to the report, for the caller to take."""
        self.due_s: float | None = None

    @property
    def message(self) -> MessageWriter | None:
        """The message; nothing until it was begun."""
        return self._message

    @property
    def is_redacted(self) -> bool:
        """Whether the message was taken out while it was written."""
        return self._message is not None and self._message.is_redacted

    def take(self, operations: Iterable[Operation], now_s: float = 0.0) -> None:
        """Take in what came; it is written by the next ``flush``, which is due at ``due_s``."""
        for operation in operations:
            self._take(operation)
            if self.due_s is None and not isinstance(operation, Reported | Finished):
                self.due_s = now_s if self._is_first else now_s + self._batch_s
                self._is_first = False

    def _take(self, operation: Operation) -> None:
        match operation:
            case TextDelta():
                self._continue("text", operation.text)
            case ReasoningDelta():
                self._continue("reasoning", operation.text)
            case Begun():
                self._add(operation.key, _part(operation))
            case Grown():
                self._more.setdefault(self._ids[operation.key], []).append(operation.text)
            case Annotated():
                self._values.setdefault(self._ids[operation.key], {}).update(operation.values)
            case MediaDelta():
                part = self._conversation.attach_bytes(
                    operation.data, mime=operation.mime, name=operation.name
                )
                self._add(operation.key, part)
            case Sealed():
                at = self._ids[operation.key] if operation.key is not None else None
                self._sealed.append(replace(operation.field, at=at))
            case Reported():
                self.reported.append(operation)
            case Finished():
                self.finished = operation
            case _:
                assert_never(operation)

    def _continue(self, part_type: str, text: str) -> None:
        last_type, part_id = self._last
        if last_type != part_type:
            part = new_part(part_type, text="")
            self._add(f"{part_type} {part.id}", part)
            part_id = part.id
        self._more.setdefault(part_id, []).append(text)

    def _add(self, key: str, part: Part) -> None:
        self._ids[key] = part.id
        self._last = (part.type, part.id)
        self._new.append(part)

    def begin(self) -> MessageWriter:
        """Begin the message, if it has not begun."""
        if self._message is None:
            self._message = self._begin()
        return self._message

    def flush(self) -> None:
        """Write what has come, unless the message was redacted meanwhile: then it is forgotten."""
        self.due_s = None
        new, more, values = self._new, self._more, self._values
        sealed, self._sealed = self._sealed, []
        self._new, self._more, self._values = [], {}, {}
        if not (new or more or values or sealed) or self.begin().is_redacted:
            return
        whole = [_whole(part, more.pop(part.id, []), values.pop(part.id, {})) for part in new]
        self.begin().grow(whole, {key: "".join(pieces) for key, pieces in more.items()}, values)
        if sealed:
            self.begin().seal(*sealed)

    def finish(self, status: str = "complete") -> Message | None:
        """Write what is left and end the message; returns it, if it was begun and not redacted."""
        self.flush()
        if self._message is None or self._message.is_redacted:
            return None
        usage, stop_reason = _ending(self.finished)
        return self._message.finish(status, usage=usage or None, stop_reason=stop_reason)


def write_answer(
    conversation: Conversation, operations: Sequence[Operation], begin: Callable[[], MessageWriter]
) -> Message:
    """Write a whole answer at once, and return its message."""
    writer = AnswerWriter(conversation, begin)
    writer.take(operations)
    writer.begin()
    message = writer.finish("complete" if writer.finished is not None else "interrupted")
    assert message is not None
    return message


def _part(begun: Begun) -> Part:
    content = dict(begun.content)
    if begun.type in _GROWS:
        content.setdefault(_GROWS[begun.type], "")
    if begun.type == "tool_call" and not content.get("call_id"):
        content["call_id"] = f"call_{new_id()}"
    return new_part(begun.type, **content)


def _whole(part: Part, pieces: Sequence[str], values: dict[str, Any]) -> Part:
    content = {**part.content, **values}
    if pieces:
        grows = _GROWS[part.type]
        content[grows] = str(content.get(grows, "")) + "".join(pieces)
    return replace(part, content=content)


def _ending(finished: Finished | None) -> tuple[dict[str, Any], str | None]:
    if finished is None:
        return {}, None
    usage = finished.usage.as_json() if isinstance(finished.usage, Usage) else dict(finished.usage)
    if finished.model is not None:
        usage["model"] = finished.model
    return usage, finished.stop_reason
