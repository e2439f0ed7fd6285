"""Real conversations, forked, merged and redacted: every strict server takes what is made of any log."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters import Anthropic, Gemini, NothingToAnswer, Ollama, OpenAIChat, OpenAIResponses
from adapters.exchange import Adapter, Hidden, Request
from adapters.exchange.tools import tools_part
from crdt_conv import MAIN, Conversation, InvalidMessage, Message, Part, Store, Target, new_part
from tests.adapters.test_strict import HEADERS, JUDGED, TOOLS, chat
from tests.providers.chat import ChatServer
from tests.providers.ollama import OllamaServer
from tests.providers.serving import Provider

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
IDS = ["c1", "c2", "", "é!", "c1 ", "x" * 90]
ARGUMENTS = ["{}", '{"city":"Rome"}', "", "no JSON", "[1]", "null", '{"a":', json.dumps({"a": "x" * 100_000})]
STATUSES = ["complete", "complete", "interrupted", "streaming", "failed", "cancelled"]
BRANCHES = [MAIN, "b", "c"]

EVERY: list[tuple[Adapter, Provider, Mapping[str, Any]]] = [
    *JUDGED,
    (chat("openrouter"), ChatServer(dialect="openrouter"), {}),
    (Ollama("m", base_url="http://127.0.0.1:9"), OllamaServer(), {}),
]

picks = st.integers(0, 1000)
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["say", "say", "call", "call", "result", "result", "answer", "system", "fork", "merge", "redact"]
        ),
        st.sampled_from(BRANCHES),
        picks,
        picks,
    ),
    min_size=1,
    max_size=14,
)


class Builder:
    """Does to a conversation what is drawn; what the graph refuses is passed over."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def do(self, what: str, branch: str, one: int, other: int) -> None:
        """Do one thing on a branch, or on the first where there is none such."""
        branch = branch if branch in self._conversation.branches else MAIN
        try:
            getattr(self, f"_{what}")(branch, one, other)
        except InvalidMessage:
            return

    def _say(self, branch: str, one: int, other: int) -> None:
        self._conversation.append("user", parts=[self._odd(one), self._odd(other)], branch=branch)

    def _odd(self, pick: int) -> Part:
        attach = self._conversation.attach_bytes
        makes = [
            lambda: new_part("text", text="Why?"),
            lambda: new_part("text", text=""),
            lambda: new_part("text", text=" \n"),
            lambda: attach(PNG, mime="image/png"),
            lambda: attach(b"%PDF-1.4", mime="application/pdf", name="a.pdf"),
            lambda: attach(b"\0" * 9, mime="application/x-odd"),
            lambda: new_part("media", mime="image/png", url="https://example.com/a.png"),
            lambda: new_part("media", mime="audio/wav", sha256="0" * 64, size=5),
            lambda: new_part("hologram", depth=3),
            lambda: new_part("opaque", kind="web_search_call"),
            lambda: new_part("tool_result", call_id="c1", content="by a user", is_error=False),
            lambda: new_part("tool_call", call_id="c9", name="odd", arguments="{}"),
            lambda: new_part("reasoning", text="hm"),
        ]
        return makes[pick % len(makes)]()

    def _call(self, branch: str, one: int, other: int) -> None:
        count = 1 + other % 3
        calls = [
            new_part(
                "tool_call",
                call_id=IDS[(one + at) % len(IDS)],
                name=["look", "look up", ""][(one + at) % 3],
                arguments=ARGUMENTS[(one * 7 + at) % len(ARGUMENTS)],
            )
            for at in range(count)
        ]
        said = [self._odd(other // 3)] if one % 2 else []
        status = STATUSES[other % len(STATUSES)]
        writer = self._conversation.stream(branch=branch)
        for part in [*said, *calls]:
            writer.add(part)
        if status != "streaming":
            writer.finish(status, stop_reason="tool_calls")

    def _result(self, branch: str, one: int, other: int) -> None:
        parts = [
            new_part(
                "tool_result", call_id=IDS[(one + at) % len(IDS)], content=["", "fine", {"a": 1}][at % 3]
            )
            for at in range(1 + other % 3)
        ]
        self._conversation.append("tool", parts=[*parts, self._odd(other // 3)], branch=branch)

    def _answer(self, branch: str, one: int, other: int) -> None:
        self._conversation.append("assistant", parts=[self._odd(one), self._odd(other)], branch=branch)

    def _system(self, branch: str, one: int, other: int) -> None:
        parts = [new_part("text", text=["Be brief.", "", "Be long."][one % 3])]
        if other % 3 == 0:
            parts.append(tools_part(TOOLS))
        self._conversation.append("system", parts=parts, branch=branch)

    def _fork(self, branch: str, one: int, other: int) -> None:
        messages = self._conversation.messages()
        free = [name for name in BRANCHES if name not in self._conversation.branches]
        if messages and free:
            self._conversation.fork(free[other % len(free)], messages[one % len(messages)].id)

    def _merge(self, branch: str, one: int, other: int) -> None:
        names = sorted(self._conversation.branches)
        self._conversation.merge(names[one % len(names)], into=branch)

    def _redact(self, branch: str, one: int, other: int) -> None:
        messages = self._conversation.messages()
        if messages and other % 2:
            self._conversation.redact(messages[one % len(messages)].id)


@given(operations=OPERATIONS)
@example([("say", MAIN, 0, 0), ("system", MAIN, 0, 0), ("answer", MAIN, 1, 9), ("say", MAIN, 0, 0)])
@settings(max_examples=60)
def test_every_log_of_a_graph_is_taken(operations: list[tuple[str, str, int, int]]) -> None:
    """Calls answered elsewhere, orphans, odd parts, calls half written; every branch, for every server."""
    with Store(":memory:") as store:
        conversation = store.create()
        builder = Builder(conversation)
        for operation in operations:
            builder.do(*operation)
        for branch in conversation.branches:
            log = [*conversation.log(branch).messages]
            for adapter, judge, params in EVERY:
                hidden = Hidden.of(conversation, now_ms=0)
                try:
                    request, _ = adapter.materialize(log, Target(adapter.name, params=params), TOOLS, hidden)
                except NothingToAnswer:
                    continue
                refusal = judge.check(json.loads(request.content), HEADERS)
                assert refusal is None, (adapter.name, params, refusal)


REMEMBERING: Sequence[Callable[[], Adapter]] = (
    lambda: Anthropic("claude-sonnet-5-5", api_key="k"),
    lambda: Gemini("gemini-3-pro", api_key="k"),
    lambda: OpenAIChat("gpt-5.6", api_key="k"),
    lambda: OpenAIResponses("gpt-5.6", api_key="k"),
    lambda: Ollama("qwen3"),
)


@given(operations=OPERATIONS)
@settings(max_examples=40)
def test_what_was_remembered_changes_nothing(operations: list[tuple[str, str, int, int]]) -> None:
    """While a graph grows, forks and is redacted, an adapter that knows it writes what a new one does."""
    with Store(":memory:") as store:
        conversation = store.create()
        builder = Builder(conversation)
        remembering = [(make, make()) for make in REMEMBERING]
        made: list[tuple[Request, bytes]] = []
        for operation in operations:
            builder.do(*operation)
            for branch in conversation.branches:
                log = [*conversation.log(branch).messages]
                for make, adapter in remembering:
                    assert written(adapter, log, conversation, made) == written(make(), log, conversation, [])
        assert [request.content for request, _ in made] == [content for _, content in made]


def written(
    adapter: Adapter, log: list[Message], conversation: Conversation, made: list[tuple[Request, bytes]]
) -> object:
    """Return a request and its report; nothing where there is nothing to answer. Adds it to ``made``."""
    hidden = Hidden.of(conversation, now_ms=0)
    try:
        request, report = adapter.materialize(log, Target(adapter.name), TOOLS, hidden)
    except NothingToAnswer:
        return None
    made.append((request, request.content))
    return request.content, request.prefix, report


@pytest.mark.parametrize("kind", ["say", "call", "result", "answer", "system", "fork", "merge", "redact"])
def test_what_is_drawn_is_done(kind: str) -> None:
    """Nothing that the property draws is always refused by the graph."""
    with Store(":memory:") as store:
        conversation = store.create()
        builder = Builder(conversation)
        for what in ("say", "call", "result", "say"):
            builder.do(what, MAIN, 0, 0)
        builder.do("fork", MAIN, 1, 0)
        if kind != "fork":
            builder.do("say", "b", 0, 0)
        before = conversation.encode()
        builder.do(kind, MAIN, 0, 1)
        assert conversation.encode() != before
