"""From operations to a message in a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from adapters.exchange import (
    Annotated,
    Begun,
    Finished,
    Grown,
    MediaDelta,
    Operation,
    ReasoningDelta,
    Sealed,
    TextDelta,
    Usage,
)
from adapters.writing import AnswerWriter, write_answer
from crdt_conv import Conversation, HiddenField, Message, Store


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    """Return a conversation with a question."""
    with Store(":memory:") as store:
        asked = store.create()
        asked.append("user", "Where?")
        yield asked


def written(conversation: Conversation, *operations: Operation) -> Message:
    """Return the message that operations make."""
    return write_answer(conversation, operations, conversation.stream)


def test_the_first_piece_is_due_at_once_and_the_rest_in_batches(conversation: Conversation) -> None:
    """Somebody waits for the first; the others come thirty milliseconds together."""
    writer = AnswerWriter(conversation, conversation.stream, batch_s=0.03)
    writer.take([TextDelta("a")], 1.0)
    assert writer.due_s == 1.0
    writer.flush()
    writer.take([TextDelta("b")], 1.01)
    writer.take([TextDelta("c")], 1.02)
    assert writer.due_s == 1.04
    before = conversation.last_seq
    writer.flush()
    assert conversation.last_seq - before == 1
    assert repr(writer.due_s) == "None"
    assert conversation.log().messages[-1].text == "abc"


def test_types_keep_their_order(conversation: Conversation) -> None:
    """Reasoning and text are not mixed up."""
    message = written(
        conversation, ReasoningDelta("hm"), TextDelta("a"), TextDelta("b"), ReasoningDelta("ah")
    )
    assert [(part.type, part.text) for part in message.parts] == [
        ("reasoning", "hm"),
        ("text", "ab"),
        ("reasoning", "ah"),
    ]


@pytest.mark.parametrize("flushes", [1, 2, 3, 99])
def test_calls_may_grow_by_turns(conversation: Conversation, flushes: int) -> None:
    """Arguments of parallel calls go to their own call, wherever the batches are cut."""
    operations: Sequence[Operation] = [
        Begun("0", "tool_call", {"call_id": "one", "name": "f"}),
        Grown("0", '{"a"'),
        Begun("1", "tool_call", {"call_id": "two", "name": "g"}),
        Grown("1", "[]"),
        Grown("0", ":1}"),
    ]
    writer = AnswerWriter(conversation, conversation.stream)
    for place, operation in enumerate(operations):
        writer.take([operation])
        if place % flushes == 0:
            writer.flush()
    message = writer.finish()
    assert message is not None
    assert [(p.content["call_id"], p.content["arguments"]) for p in message.parts] == [
        ("one", '{"a":1}'),
        ("two", "[]"),
    ]


def test_hidden_fields_stand_at_their_parts(conversation: Conversation) -> None:
    """Each is bound to the part it came with, or to the message; data over 64 KiB comes back as it was."""
    field = HiddenField("p", "s", "k", "x" * 70_000)
    message = written(
        conversation,
        Begun("o", "opaque", {"kind": "k"}),
        TextDelta("a"),
        Sealed(field, "o"),
        Sealed(HiddenField("p", "s", "whole", b"\0")),
    )
    first, second = conversation.hidden(message.id)
    assert (first.at, first.data, first.kind) == (message.parts[0].id, "x" * 70_000, "k")
    assert (second.at, second.data) == (None, b"\0")


def test_everything_else_has_its_place(conversation: Conversation) -> None:
    """Citations stand beside their text, bytes are a blob, a call without an id gets one; usage is kept."""
    message = written(
        conversation,
        Begun("t", "text"),
        Grown("t", "Rome"),
        Annotated("t", {"citations": [{"url": "u"}]}),
        MediaDelta("m", "image/png", b"PNG", "a.png"),
        Begun("c", "tool_call", {"name": "f"}),
        Finished("tool_calls", Usage(input_tokens=3, cost=0.5, raw={"in": 3}), "m-1"),
    )
    text, media, call = message.parts
    assert text.content == {"text": "Rome", "citations": [{"url": "u"}]}
    assert conversation.blob(media.content["sha256"]) == b"PNG"
    assert call.content["call_id"].startswith("call_")
    assert message.usage == {"input_tokens": 3, "cost": 0.5, "raw": {"in": 3}, "model": "m-1"}
    assert (message.status, message.stop_reason) == ("complete", "tool_calls")


def test_without_an_end_it_is_interrupted(conversation: Conversation) -> None:
    """An answer that never said why it stopped is not complete."""
    assert written(conversation, TextDelta("a")).status == "interrupted"
