"""From a log to the request, and from that to entries for one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from adapters import NothingToAnswer, RequestRefused
from adapters.exchange import Hidden, Report, Tool
from adapters.llamacpp.entries import entries_of, to_drop, units_of
from adapters.llamacpp.materialize import materialize
from adapters.llamacpp.prompt import Answered
from crdt_conv import Conversation, Store, Target, new_part
from tests.adapters.llamacpp.tiny import TinyServer, ask

ADD = Tool("add", "Adds.", {"type": "object"})


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    """Return a conversation with a question."""
    with Store(":memory:") as store:
        asked = store.create()
        asked.append("user", "hi")
        yield asked


def made(
    conversation: Conversation, tools: Sequence[Tool] = (), *more: Any, **params: Any
) -> tuple[dict[str, Any], Report]:
    """Return the body of a request, and the report."""
    heads = [head.id for head in conversation.heads()]
    log = [*conversation.lin(*heads), *more]
    hidden = Hidden.of(conversation, now_ms=0)
    request, report = materialize(log, Target("llamacpp", params=params), tools, hidden)
    return dict(request.body or {}), report


def called(conversation: Conversation) -> None:
    """Let a tool be called, and answer."""
    call = new_part("tool_call", call_id="c", name="add", arguments='{"a":1}')
    conversation.append("assistant", parts=[new_part("reasoning", text="Hm."), call])
    conversation.append("tool", parts=[new_part("tool_result", call_id="c", content="2")])


def test_parameters_are_what_they_say(conversation: Conversation) -> None:
    """Sampling goes to the server as it stands; what it does not know is told of."""
    body, report = made(conversation, temperature=0, stop="x", max_tokens=3.0, odd=1)
    assert (body["sampling"], body["stop"], body["max_tokens"]) == ({"temperature": 0}, ["x"], 3)
    assert [note.about for note in report.left_out] == ["odd"]


@pytest.mark.parametrize(
    ("default", "params", "expected", "told"),
    [
        (None, {}, None, []),
        (2048, {}, 2048, ["max_tokens"]),
        (2048, {"max_tokens": 7}, 7, []),
        (2048, {"max_tokens": 9000}, 9000, []),
    ],
)
def test_an_answer_has_an_end(
    conversation: Conversation, default: int | None, params: Any, expected: int | None, told: list[str]
) -> None:
    """Where a run does not say how long it may be the adapter does, and the report says so."""
    request, report = materialize(
        conversation.log().messages,
        Target("llamacpp", params=params),
        (),
        Hidden.of(conversation, now_ms=0),
        max_tokens=default,
    )
    assert (request.body or {})["max_tokens"] == expected
    assert [note.about for note in report.repairs] == told


@pytest.mark.parametrize(
    "params",
    [
        {"overflow": "shift"},
        {"max_tokens": 0},
        {"max_tokens": "3"},
        {"max_tokens": True},
        {"tool_choice": {}},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
    ],
)
def test_a_parameter_that_can_not_be_is_refused(conversation: Conversation, params: dict[str, Any]) -> None:
    """Before anything is sent, with a word about it."""
    with pytest.raises(RequestRefused):
        made(conversation, **params)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"json_schema": {"type": "array"}}, {"type": "array"}),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, {"type": "object"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}}}}, {"a": 1}),
    ],
)
def test_a_schema_in_its_forms(conversation: Conversation, params: dict[str, Any], expected: object) -> None:
    """OpenAI's form and llama.cpp's own."""
    assert made(conversation, **params)[0]["json_schema"] == expected


def test_a_schema_leaves_no_place_for_tools(conversation: Conversation) -> None:
    """They are not offered, and that is said; required, they are."""
    body, report = made(conversation, [ADD], json_schema={})
    assert (body["tools"], [note.about for note in report.left_out]) == ([], ["tools"])
    assert made(conversation, [ADD], json_schema={}, tool_choice="required")[0]["tools"]


def test_an_answer_is_nothing_to_answer_unless_it_broke_off(conversation: Conversation) -> None:
    """Only an interrupted one is gone on with."""
    writer = conversation.stream()
    writer.write("Ro")
    broken = writer.finish("interrupted")
    log = [conversation.message(broken.parents[0]), broken]
    hidden = Hidden.of(conversation, now_ms=0)
    request, _ = materialize(log, Target("llamacpp"), (), hidden)
    entries = entries_of(request.body or {}, "m", is_native=False)
    assert (entries.begun, len(entries.entries)) == (((), "Ro"), 1)
    assert [note.about for note in entries.repairs] == [broken.id]
    conversation.append("assistant", "Rome", parents=[broken.parents[0]])
    with pytest.raises(NothingToAnswer):
        made(conversation)


def test_a_native_template_gets_calls_as_they_are(conversation: Conversation) -> None:
    """Calls, results and reasoning, where the template writes them."""
    called(conversation)
    body, _ = made(conversation, [ADD])
    _, answer, result = entries_of(body, "m", is_native=True).entries
    assert answer.plain["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}
    assert answer.plain["reasoning_content"] == "Hm."
    assert result.fields == {"role": "tool", "content": "2", "tool_call_id": "c", "name": "add"}


def test_any_other_gets_text(conversation: Conversation) -> None:
    """Tools are explained, calls and results written out, and users' turns joined."""
    called(conversation)
    conversation.append("user", "so?")
    body, _ = made(conversation, [ADD])
    system, _, answer, rest = entries_of(body, "m", is_native=False).entries
    assert '"name": "add"' in system.fields["content"]
    assert answer.fields["content"] == '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    assert rest.fields["content"] == "<tool_response>\n2\n</tool_response>\nso?"


@pytest.mark.anyio
async def test_every_model_gets_its_own_tokens(conversation: Conversation) -> None:
    """Of a conversation that two models answered each reads its own ids, and the other's text."""
    for space in ("one", "two"):
        await ask(conversation, TinyServer(), space=space)
        conversation.append("user", "and")
    body, report = made(conversation)
    for space, places in (("one", [1]), ("two", [3]), ("three", [])):
        entries = entries_of(body, space, is_native=False).entries
        exact = [at for at, e in enumerate(entries) if any(isinstance(p, Answered) for p in e.pieces)]
        assert exact == places
    assert [sent.space for sent in report.hidden] == ["one", "two"]


@pytest.mark.anyio
async def test_no_other_models_tokens_go_along(conversation: Conversation) -> None:
    """Once the model's file is known, what another sealed is not even part of the request."""
    await ask(conversation, TinyServer(), space="one")
    conversation.append("user", "and")
    heads = [head.id for head in conversation.heads()]
    hidden = Hidden.of(conversation, now_ms=0)
    request, report = materialize(conversation.lin(*heads), Target("llamacpp"), (), hidden, space="two")
    assert (report.hidden, (request.body or {})["messages"][1]["turns"][0]["tokens"]) == ((), {})
    entries = entries_of(request.body or {}, "two", is_native=False)
    assert ["another model's" in note.reason for note in entries.repairs] == [True]


@pytest.mark.anyio
async def test_a_redaction_leaves_no_digest_to_test_guesses_with(conversation: Conversation) -> None:
    """What an answer's tokens say of the prompt is salted with what a redaction removes."""
    question = conversation.log().messages[0]
    await ask(conversation, TinyServer())
    conversation.append("user", "and")
    before = made(conversation)[0]["messages"][1]["turns"][0]["salt"]
    conversation.redact(question.id)
    turns = [turn for message in made(conversation)[0]["messages"] for turn in message.get("turns", ())]
    assert before not in [turn["salt"] for turn in turns]


@pytest.mark.parametrize("count", range(2, 40))
def test_what_was_dropped_stays_dropped(count: int) -> None:
    """A log that goes on changes nothing of what was dropped before, but to drop more."""
    sizes = [(7 * number) % 11 + 1 for number in range(count)]
    assert to_drop(sizes[:-1], 40) <= to_drop(sizes, 40)
    assert sum(sizes[to_drop(sizes, 40) :]) <= 40


def test_dropping_makes_room_for_a_while() -> None:
    """Half of it is free afterwards, so that the next requests begin as this one did."""
    assert [to_drop([10] * count, 45) for count in range(1, 10)] == [0, 0, 0, 0, 3, 3, 3, 6, 6]


def test_the_last_question_is_never_dropped() -> None:
    """Alone too long, it is an error, not silence."""
    assert to_drop([100], 10) == 0
    assert to_drop([5, 100], 10) == 1


def test_a_unit_is_a_question_with_all_that_follows(conversation: Conversation) -> None:
    """A call and its results go together, whatever role they have as text."""
    called(conversation)
    conversation.append("assistant", "Two.")
    conversation.append("user", "so?")
    body, _ = made(conversation)
    for is_native in (True, False):
        first, units = units_of(entries_of(body, "m", is_native=is_native).entries)
        assert (first, [len(unit) for unit in units]) == (0, [4, 1])
