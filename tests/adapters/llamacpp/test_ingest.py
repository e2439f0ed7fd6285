"""From events to operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from adapters import StreamBroken
from adapters.exchange import Begun, Finished, Grown, Operation, Reported, Sealed, TextDelta, Usage
from adapters.llamacpp.ingest import CompletionIngest
from adapters.llamacpp.tokens import SEAL_EVERY, decode_chunk

PROMPT: dict[str, Any] = {"space": "gguf:a", "model": "m", "digest": "00" * 8, "has_tools": True}


def read(*events: Mapping[str, Any]) -> list[Operation]:
    """Return what events and the end of their stream become."""
    ingest = CompletionIngest()
    return [op for event in ({"prompt": PROMPT}, *events) for op in ingest.feed(event)] + list(ingest.end())


def ids(operations: list[Operation]) -> list[tuple[int, ...]]:
    """Return the ids of every field."""
    fields = [operation.field for operation in operations if isinstance(operation, Sealed)]
    return [chunk.ids for field in fields if (chunk := decode_chunk(field.data)) is not None]


def test_text_tokens_and_the_end() -> None:
    """One field for a short answer, sealed for the model's file."""
    end = {"stop_type": "eos", "input_tokens": 9, "output_tokens": 2, "cached_tokens": 4, "timings": {"a": 1}}
    reported, one, two, sealed, finished = read(
        {"content": "Ro", "tokens": [1]}, {"content": "me", "tokens": [2, 3]}, {"odd": 1}, {"end": end}
    )
    assert (reported, one, two) == (Reported(), TextDelta("Ro"), TextDelta("me"))
    assert isinstance(sealed, Sealed)
    assert (sealed.field.space, sealed.field.binding, sealed.key) == ("gguf:a", "self", None)
    assert ids([sealed]) == [(1, 2, 3)]
    usage = Usage(9, 2, 4, raw={"timings": {"a": 1}}, raw_stop_reason="eos")
    assert finished == Finished("stop", usage)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"stop_type": "limit"}, "length"),
        ({"stop_type": "limit", "is_full": True}, "context_overflow"),
        ({"stop_type": "word"}, "stop_sequence"),
        ({"stop_type": "none"}, "none"),
    ],
)
def test_why_it_stopped(end: dict[str, Any], expected: str) -> None:
    """In the words that all adapters have."""
    *_, finished = read({"content": "x", "tokens": [1]}, {"end": end})
    assert isinstance(finished, Finished)
    assert finished.stop_reason == expected


def test_a_call_is_a_part_of_its_own() -> None:
    """Name and arguments, and the reason why it stopped."""
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    _, begun, grown, _, finished = read({"content": call, "tokens": [1]}, {"end": {"stop_type": "eos"}})
    assert (begun, grown) == (Begun("call 0", "tool_call", {"name": "add"}), Grown("call 0", '{"a": 1}'))
    assert isinstance(finished, Finished)
    assert finished.stop_reason == "tool_calls"


def test_tokens_that_were_taken_back_are_not_kept() -> None:
    """What a stop word or a new beginning replaces."""
    operations = read(
        {"content": "ab", "tokens": [1, 2, 3]},
        {"content": "", "tokens": [8, 9], "dropped": 2},
        {"end": {"stop_type": "word"}},
    )
    assert ids(operations) == [(1, 8, 9)]


def test_a_long_answer_has_a_field_now_and_then() -> None:
    """Who takes over in its middle finds most of its tokens."""
    events = [{"content": "x", "tokens": [number]} for number in range(SEAL_EVERY + 10)]
    ingest = CompletionIngest()
    ingest.feed({"prompt": PROMPT})
    operations = [operation for event in events for operation in ingest.feed(event)]
    assert [len(found) for found in ids(operations)] == [SEAL_EVERY]
    ingest.feed({"end": {"stop_type": "eos"}})
    assert [len(found) for found in ids(list(ingest.end()))] == [10]


def test_a_stream_without_an_end_broke_off() -> None:
    """Whatever had come."""
    ingest = CompletionIngest()
    ingest.feed({"content": "x", "tokens": [1]})
    with pytest.raises(StreamBroken):
        ingest.end()
