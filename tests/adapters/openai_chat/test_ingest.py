"""From the events of Chat Completions to parts, in the shapes that few servers send."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from adapters import OpenAIChat, StreamBroken
from adapters.errors import AdapterError, ProviderUnavailable, RequestRefused
from adapters.exchange import Finished, Hidden, Request
from adapters.http import DONE
from adapters.writing import write_answer
from crdt_conv import Conversation, Message, Store, Target

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
    # Neither an index nor an id: a name again, behind arguments that are whole.
    (
        [chunk(tool_calls=[{"function": {"name": "f", "arguments": a}}]) for a in ("{}", '{"a":1}')] + [STOP],
        [("tool_call", "{}"), ("tool_call", '{"a":1}')],
    ),
    # Some repeat the name with each fragment.
    (
        [chunk(tool_calls=[call(0, a, name="f")]) for a in ('{"a"', ":1}")] + [STOP],
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


USED = {"choices": [chunk(content="")["choices"][0]], "usage": {"prompt_tokens": 1}}


@pytest.mark.parametrize("end", [DONE, USED, {"choices": [], "usage": {"prompt_tokens": 1}}])
def test_some_never_say_why_they_stopped(conversation: Conversation, end: Mapping[str, Any]) -> None:
    """The last word of the stream, or the counts that come once and at its end, say that it was the end."""
    assert answer(conversation, chunk(content="a"), end).stop_reason == "stop"
    called = chunk(tool_calls=[call(0, "{}", id="x", name="f")])
    assert answer(conversation, called, end).stop_reason == "tool_calls"


def test_counts_in_every_event_are_no_end() -> None:
    """Some servers count all the time: a stream that breaks off behind such an event broke off."""
    ingest = OpenAIChat("m", api_key="k").ingest(REQUEST)
    for _ in range(2):
        ingest.feed({**chunk(content="a"), "usage": {"prompt_tokens": 1}})
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


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"object": "error", "message": "no", "code": 400}, RequestRefused),
        ({"error": {"message": "no", "code": "content_filter", "status": 400}}, RequestRefused),
        ({"error": {"message": "no", "code": "tool_use_failed", "status_code": 400}}, RequestRefused),
        ({"error": {"message": "no", "code": "x", "status_code": 503}}, ProviderUnavailable),
    ],
)
def test_an_error_says_its_status_in_many_ways(event: Any, expected: type[AdapterError]) -> None:
    """What can't get better is not tried again."""
    ingest = OpenAIChat("m", api_key="k").ingest(REQUEST)
    with pytest.raises(expected):
        ingest.feed(event)


ROUTER = OpenAIChat("m", base_url="https://openrouter.ai/api/v1", api_key="k")


def pieces(*entries: dict[str, Any]) -> dict[str, Any]:
    """Return a chunk with a piece of reasoning details."""
    return chunk(reasoning_details=list(entries))


TYPES = {"text": "reasoning.text", "summary": "reasoning.summary", "data": "reasoning.encrypted"}


def detail(index: int | None, **values: Any) -> dict[str, Any]:
    """Return an entry of reasoning details."""
    kind = next(name for key, name in TYPES.items() if key in values or key == "data")
    return {"type": kind, "index": index, **values}


DETAILS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "a text and its signature": (
        [pieces(detail(0, text="a", format="f")), pieces(detail(0, text="b")),
         pieces({"type": "reasoning.text", "index": 0, "signature": "S"})],
        [detail(0, text="ab", format="f", signature="S")],
    ),
    "several by their index": (
        [pieces(detail(0, text="a")), pieces(detail(1, text="c")), pieces(detail(0, text="b"))],
        [detail(0, text="ab"), detail(1, text="c")],
    ),
    "a summary and its seal": (
        [pieces(detail(0, summary="a")), pieces(detail(0, summary="b")), pieces(detail(0, data="E", id="r"))],
        [detail(0, summary="ab"), detail(0, data="E", id="r")],
    ),
    "seals of two calls under one index": (
        [pieces(detail(0, data="E", id=None), detail(0, data="F", id="c1")), pieces(detail(0, data="G"))],
        [detail(0, data="EG", id=None), detail(0, data="F", id="c1")],
    ),
    "a seal that comes twice": ([pieces(detail(0, data="E"))] * 2, [detail(0, data="E")]),
    "no index": ([pieces(detail(None, text=text)) for text in "ab"], [detail(None, text="ab")]),
    "nothing in between": (
        [pieces(detail(0, text="a")), pieces(), chunk(reasoning_details=None), pieces(detail(0, text="b"))],
        [detail(0, text="ab")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), DETAILS.values(), ids=DETAILS.keys())
def test_details_are_put_together(
    conversation: Conversation, events: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    """What comes in fragments goes back as one list, each entry whole and in its place."""
    ingest = ROUTER.ingest(REQUEST)
    ends = [{**chunk(content="a"), "provider": "Up"}, STOP]
    operations = [operation for event in [*events, *ends] for operation in ingest.feed(event)]
    write_answer(conversation, [*operations, *ingest.end()], conversation.stream)
    conversation.append("user", "Go on.")
    hidden = Hidden.of(conversation, now_ms=0)
    request, _ = ROUTER.materialize(conversation.log().messages, Target("openai-chat"), (), hidden)
    assert (request.body or {})["messages"][1]["reasoning_details"] == expected


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
