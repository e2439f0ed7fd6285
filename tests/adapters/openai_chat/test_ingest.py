"""From the events of Chat Completions to parts, in the shapes that few servers send."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from adapters import OpenAIChat, StreamBroken
from adapters.errors import AdapterError, ProviderUnavailable
from adapters.exchange import Finished, Request
from adapters.writing import write_answer
from crdt_conv import Conversation, Message, Store

REQUEST = Request(
    "/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "secret words"}]}
)
PNG = base64.b64encode(b"PNG").decode()


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    """Return a conversation with a question."""
    with Store(":memory:") as store:
        asked = store.create()
        asked.append("user", "Where?")
        yield asked


def answer(conversation: Conversation, *events: Mapping[str, Any]) -> Message:
    """Return the message that events make."""
    ingest = OpenAIChat("m", base_url="https://chat.example/v1", api_key="k").ingest(REQUEST)
    operations = [operation for event in events for operation in ingest.feed(event)]
    return write_answer(conversation, [*operations, *ingest.end()], conversation.stream)


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """Return one chunk."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index: int, arguments: str, **first: Any) -> dict[str, Any]:
    """Return a fragment of a call."""
    name = {"name": first.pop("name")} if "name" in first else {}
    return {"index": index, **first, "function": {**name, "arguments": arguments}}


STOP = chunk("stop")
# Events, and the parts that they make: type, and text or arguments.
PARTS: list[tuple[Sequence[Mapping[str, Any]], list[tuple[str, str]]]] = [
    ([chunk(content="a"), {"choices": []}, {"odd": 1}, chunk(content="b"), STOP], [("text", "ab")]),
    ([chunk(refusal="I won't"), STOP], [("text", "I won't")]),
    # Both say the same: the first key counts.
    (
        [chunk(reasoning="r", reasoning_content="r"), chunk(content="a"), STOP],
        [("reasoning", "r"), ("text", "a")],
    ),
    ([chunk(content=[{"type": "text", "text": "a"}]), STOP], [("text", "a")]),
    # One index for all: another id is another call.
    (
        [
            chunk(tool_calls=[call(0, "{}", id="x", name="f")]),
            chunk(tool_calls=[call(0, "[]", id="y", name="g")]),
            STOP,
        ],
        [("tool_call", "{}"), ("tool_call", "[]")],
    ),
    # No index at all, and arguments that are no text.
    (
        [chunk(tool_calls=[{"function": {"name": "f", "arguments": {"a": 1}}}]), STOP],
        [("tool_call", '{"a":1}')],
    ),
    ([chunk(function_call={"name": "f", "arguments": "{}"}), STOP], [("tool_call", "{}")]),
    # Another choice is no part of the answer.
    ([chunk(content="a"), {"choices": [{"index": 1, "delta": {"content": "b"}}]}, STOP], [("text", "a")]),
    ([chunk(audio={"id": "", "data": "", "transcript": "said"}), STOP], [("text", "said")]),
    ([chunk(content=None, tool_calls=None, reasoning_details=None), STOP], []),
]  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), PARTS)
def test_events_become_parts(
    conversation: Conversation, events: Sequence[Mapping[str, Any]], expected: list[tuple[str, str]]
) -> None:
    """Whatever shape a server gives it, the same parts come of it."""
    parts = answer(conversation, *events).parts
    assert [(part.type, part.text or part.content["arguments"]) for part in parts] == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([chunk("stop", content="a")], "stop"),
        ([chunk("length", content="a")], "length"),
        ([chunk("content_filter", content="a")], "content_filter"),
        ([chunk("function_call", function_call={"name": "f", "arguments": ""})], "tool_calls"),
        ([chunk("stop", tool_calls=[call(0, "{}", id="x", name="f")])], "tool_calls"),
        ([chunk("stop", refusal="no")], "refusal"),
        ([chunk("odd", content="a")], "odd"),
    ],
)
def test_why_it_stopped(
    conversation: Conversation, events: Sequence[Mapping[str, Any]], expected: str
) -> None:
    """One word for every provider's; its own where it is none of ours."""
    assert answer(conversation, *events).stop_reason == expected


def test_an_answer_without_an_end_broke_off() -> None:
    """A stream that ends before its last word is no whole answer, however politely it ends."""
    ingest = OpenAIChat("m", api_key="k").ingest(REQUEST)
    ingest.feed(chunk(content="a"))
    with pytest.raises(StreamBroken):
        ingest.end()


def test_citations_and_pictures(conversation: Conversation) -> None:
    """What an answer rests on stands beside its text; a picture is a blob."""
    cited = {"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    text, media = answer(
        conversation, chunk(content="a", annotations=[cited]), chunk("stop", images=[image])
    ).parts
    assert text.content["citations"] == [{"type": "url_citation", "url": "u", "title": "t"}]
    assert conversation.blob(media.content["sha256"]) == b"PNG"


@pytest.mark.parametrize(
    ("code", "expected"), [(502, ProviderUnavailable), ("server_error", ProviderUnavailable)]
)
def test_an_error_in_the_stream_is_raised(code: object, expected: type[AdapterError]) -> None:
    """After a status of 200 too; and nothing of the request is quoted."""
    ingest = OpenAIChat("m", api_key="k").ingest(REQUEST)
    with pytest.raises(expected) as caught:
        ingest.feed({"error": {"code": code, "message": "at 'secret words'"}, "choices": []})
    assert "secret" not in str(caught.value)


def test_the_cost_is_kept(conversation: Conversation) -> None:
    """Where the provider names it."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.25, "prompt_cache_hit_tokens": 1}
    kept = answer(conversation, chunk("stop", content="a"), {"choices": [], "usage": usage}).usage or {}
    assert (kept["cost"], kept["cached_tokens"], kept["raw"]) == (0.25, 1, usage)


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, [None], {"index": "x"}])
@pytest.mark.parametrize("key", ["choices", "usage", "model", "provider", "delta", "tool_calls", "content"])
def test_nonsense_breaks_nothing(key: str, value: object) -> None:
    """A server may send anything: what can't be read is passed over."""
    ingest = OpenAIChat("m", api_key="k").ingest(REQUEST)
    ingest.feed({key: value})
    ingest.feed({"choices": [{"index": 0, "delta": {key: value}}]})
    ingest.feed({"choices": [{"index": 0, key: value}]})
    ingest.feed(STOP)
    assert isinstance(ingest.end()[-1], Finished)
