"""Merged logs: whatever the graph can produce, every strict server takes the request that is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import Anthropic, Gemini, NothingToAnswer, OpenAIChat, OpenAIResponses
from adapters.exchange import Adapter, Hidden, Report, Request, Tool
from adapters.gemini.kinds import SIGNATURE
from adapters.normalize import normalize
from adapters.prefix import without_markers
from adapters.remote import Remote
from adapters.spaces import Place
from crdt_conv import HiddenField, Message, MessageId, Part, Target
from tests.adapters.test_normalize import WORDS, log
from tests.providers.chat import ChatServer
from tests.providers.gemini import GeminiServer
from tests.providers.messages import MessagesServer, seal
from tests.providers.responses import ResponsesServer
from tests.providers.serving import Provider

OTHER = Place("openai", "openai", "https://api.openai.com/v1", "gpt", "b")


def claude(model: str) -> Anthropic:
    """Return an adapter for Anthropic."""
    return Anthropic(model, api_key="k", account="a")


def chat(dialect: str) -> OpenAIChat:
    """Return an adapter for a dialect."""
    return OpenAIChat("m", base_url="https://chat.example/v1", api_key="k", dialect=dialect)


# An adapter, the server that judges it, and what a run asks for.
JUDGED: list[tuple[Adapter, Provider, Mapping[str, Any]]] = [
    *(
        (chat(dialect), ChatServer(dialect=dialect), {})
        for dialect in ("openai", "deepseek", "mistral", "vllm")
    ),
    (claude("claude-opus-4-1"), MessagesServer(), {}),
    (claude("claude-opus-4-8"), MessagesServer(), {"thinking": {"type": "adaptive"}}),
    (claude("claude-sonnet-4-5"), MessagesServer(), {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
    (claude(MessagesServer.bound), MessagesServer(), {}),
    (OpenAIResponses("m", api_key="k"), ResponsesServer(), {}),
    (Gemini("gemini-3-pro", api_key="k"), GeminiServer(), {}),
]
HEADERS = {"authorization": "Bearer k", "x-api-key": "k", "x-goog-api-key": "k", "anthropic-version": "1"}
QUESTION = Message(MessageId("end"), "user", (), parts=(Part("p", "text", {"text": "?"}),))
TOOLS = [Tool("look up", "Look something up", {"type": "object", "properties": {}})]

# Logs with reasoning that somebody sealed: this provider, another one, or for another request.
MORE = st.sampled_from(
    ["reasoning=own", "reasoning=foreign", "reasoning=elsewhere", "media=m", "call=é!", "text= "]
)
ANSWERS = st.lists(MORE, max_size=3).map(lambda parts: f"assistant:{'+'.join(parts)}".replace(" ", "\u00a0"))
LOGS = st.lists(st.one_of(WORDS, WORDS, ANSWERS), max_size=14).map(lambda words: log(" ".join(words)))


def sealed(entries: Sequence[Message], adapter: Adapter) -> tuple[list[Message], Hidden]:
    """Return a log, parts of which have ids, and the hidden fields of its reasoning."""
    fields: dict[str, list[HiddenField]] = {}
    messages: list[Message] = []
    for message in entries:
        parts = tuple(replace(part, id=f"p{at}") for at, part in enumerate(message.parts))
        fields[message.id] = [field for part in parts for field in _fields(part, adapter)]
        messages.append(replace(message, parts=parts, hidden_count=len(fields[message.id])))
    return messages, Hidden(fields=lambda message_id: fields[message_id])


def _fields(part: Part, adapter: Adapter) -> list[HiddenField]:
    assert isinstance(adapter, Remote)
    if part.type != "reasoning":
        return []
    own = adapter.place(Target(adapter.name))
    kind, data = _seal(adapter, own.provider, part.text)
    made = {
        "own": own.seal(kind, data),
        "foreign": OTHER.seal("encrypted", "gAAA"),
        "elsewhere": own.seal(kind, data, binding="prefix", prefix="0" * 64),
    }.get(part.text)
    is_bound = own.model == MessagesServer.bound
    # Of such a model nothing is ever sealed for every request.
    return [replace(made, at=part.id)] if made is not None and not (is_bound and part.text == "own") else []


def _seal(adapter: Adapter, provider: str, text: str) -> tuple[str, str]:
    """Return what this adapter's provider seals reasoning with."""
    if isinstance(adapter, Anthropic):
        return "thinking", seal(text)
    if isinstance(adapter, Gemini):
        return SIGNATURE, "c2lnbmVk"
    if isinstance(adapter, OpenAIResponses):
        return "reasoning", json.dumps({"type": "reasoning", "summary": [], "encrypted_content": "sealed"})
    return "reasoning", "thinking" if provider == "mistral" else "reasoning_content"


KNOWN: dict[str, Message] = {}
"""One object for equal messages, as a conversation has them."""


def made(
    entries: Sequence[Message], adapter: Adapter, params: Mapping[str, Any]
) -> tuple[Request, Report] | None:
    """Return the request for a log, if it can be answered."""
    messages, hidden = sealed(entries, adapter)
    messages = [KNOWN.setdefault(repr(message), message) for message in messages]
    try:
        return adapter.materialize(messages, Target(adapter.name, params=params), TOOLS, hidden)
    except NothingToAnswer:
        return None


@pytest.mark.parametrize(("adapter", "judge", "params"), JUDGED)
@given(entries=LOGS)
def test_every_log_makes_a_request_that_is_taken(
    adapter: Adapter, judge: Provider, params: Mapping[str, Any], entries: Sequence[Message]
) -> None:
    """Merged, torn, redacted, interrupted, from several models: the strict server has no objection."""
    found = made(entries, adapter, params)
    if found is not None:
        refusal = judge.check(json.loads(found[0].content), HEADERS)
        assert refusal is None, refusal


@pytest.mark.parametrize(("adapter", "_judge", "params"), JUDGED)
@given(entries=LOGS)
def test_requests_grow_at_their_end(
    adapter: Adapter, _judge: Provider, params: Mapping[str, Any], entries: Sequence[Message]
) -> None:
    """
    What was sent for an answer is the beginning of every later request, but for cache markers.

    One system message is sent otherwise later: right before an answer of which nothing can be sent it would
    stand before a question, which Anthropic refuses.
    """
    whole = made([*entries, QUESTION], adapter, params)
    assert whole is not None
    sent = _unmarked(whole[0])
    answers = {
        turn.message.id for turn in normalize(entries).turns if turn.message and turn.role == "assistant"
    }
    unsent = {note.about for note in whole[1].left_out if "can be sent to this provider" in note.reason}
    for place, message in enumerate(entries):
        before = made(entries[:place], adapter, params) if message.id in answers else None
        if before is not None:
            earlier = _unmarked(before[0])
            if isinstance(adapter, Anthropic) and message.id in unsent and earlier[-1]["role"] == "system":
                earlier.pop()
            assert sent[: len(earlier)] == earlier


def _unmarked(request: Request) -> list[Any]:
    body = without_markers(json.loads(request.content))
    messages: list[Any] = next(body[key] for key in ("messages", "input", "contents") if key in body)
    return messages


# Summaries begin everything anew; and tools change.
TURNING = st.sampled_from(["user:summary=z", "system:tools=ab", "system:tools=c", "system:s"])
GROWING = st.lists(st.one_of(WORDS, WORDS, ANSWERS, TURNING), max_size=14)
MAKES = [lambda: chat("openai"), lambda: chat("mistral"), lambda: claude(MessagesServer.bound)]


@pytest.mark.parametrize("make", MAKES)
@given(entries=GROWING.map(lambda words: log(" ".join(words))))
def test_going_on_is_the_same_as_beginning_anew(
    make: Callable[[], Adapter], entries: Sequence[Message]
) -> None:
    """An adapter that has seen the log grow makes the request, and the report, of one that has not."""
    seasoned = make()
    for length in range(len(entries) + 1):
        grown, anew = (made(entries[:length], adapter, {}) for adapter in (seasoned, make()))
        assert (grown is None) is (anew is None)
        if grown is not None and anew is not None:
            assert (grown[0].content, grown[0].prefix, grown[1]) == (anew[0].content, anew[0].prefix, anew[1])


@pytest.mark.parametrize("make", [*MAKES, lambda: Gemini("gemini-3-pro", api_key="k")])
def test_bytes_may_come_later(make: Callable[[], Adapter]) -> None:
    """What was written without a file's bytes is not gone on from."""
    file = Part("f", "media", {"mime": "image/png", "sha256": "0" * 64, "size": 1})
    question, *rest = log("user:a assistant:b user:c")
    entries, seasoned = [replace(question, parts=(file,)), *rest], make()
    blobs: dict[str, bytes] = {}
    for _ in range(2):
        hidden = Hidden(blob=blobs.get)
        grown, anew = (
            adapter.materialize(entries, Target(adapter.name), (), hidden)[0]
            for adapter in (seasoned, make())
        )
        assert grown.content == anew.content
        blobs["0" * 64] = b"x"
