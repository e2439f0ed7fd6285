"""From any merged log to turns that every provider takes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import NothingToAnswer
from adapters.exchange import Tool
from adapters.exchange.tools import tools_part
from adapters.normalize import Turn, Turns, normalize
from crdt_conv import Message, MessageId, Part

PARTS = {"call": "tool_call", "result": "tool_result", "summary": "summary", "text": "text"}


def part_of(word: str) -> Part:
    """Return a part from ``call=id``, ``result=id``, ``summary=text`` or a text."""
    kind, equals, value = word.rpartition("=")
    if kind == "call":
        return Part(value, "tool_call", {"call_id": value, "name": f"f_{value}", "arguments": "{}"})
    if kind == "result":
        return Part(value, "tool_result", {"call_id": value, "content": f"r_{value}"})
    if kind == "tools":
        return tools_part([Tool(name) for name in value])
    return Part("p", kind if equals else "text", {"text": value})


def log(table: str) -> list[Message]:
    """Return a log from ``role:part+part[!status][^parent]`` words; each stands on the one before it."""
    messages: list[Message] = []
    for number, word in enumerate(table.split()):
        word, _, parents = word.partition("^")  # noqa: PLW2901 - what is left of it
        word, _, status = word.partition("!")  # noqa: PLW2901 - the same
        role, _, parts = word.partition(":")
        given = parents.split(",") if parents else [str(number - 1)] if number else []
        messages.append(
            Message(
                MessageId(str(number)),
                role,
                tuple(MessageId(parent) for parent in given if parent != "-"),
                parts=tuple(part_of(part) for part in parts.split("+") if part),
                status=status or "complete",
            )
        )
    return messages


def shown(turn: Turn) -> str:
    """Return a turn as the tables write it."""
    if turn.role == "tool":
        return "tool:" + "+".join(f"{r.call_id}={r.text}" for r in turn.results)
    parts = (f"call={block.call_id}" if block.type == "tool_call" else block.text for block in turn.blocks)
    return f"{turn.role}:" + "+".join(parts)


MISSING = "interrupted:_this_call_has_no_result"
BEGIN = "user:(the_conversation_begins_with_an_answer)"

# A log, and the turns it becomes.
TURNS = [
    ("user:a", "user:a"),
    ("system:s user:a", "system:s user:a"),
    ("user:a assistant:b user:c", "user:a assistant:b user:c"),
    ("user:a user:b", "user:a user:b"),
    ("user:a merge: user:b", "user:a user:b"),
    ("user:a system:s user:b", "user:a system:s user:b"),
    ("system:s user:a system:s user:b", "system:s user:a user:b"),
    ("assistant:a user:b", f"{BEGIN} assistant:a user:b"),
    ("robot:a user:b!redacted user:c user:", "user:c"),
    ("tool:result=1 user:b", "user:b"),
    ("user:a assistant:call=1 tool:result=1", "user:a assistant:call=1 tool:1=r_1"),
    ("user:a assistant:call=1+call=2 tool:result=2 tool:result=1",
     "user:a assistant:call=1+call=2 tool:1=r_1+2=r_2"),
    ("user:a assistant:call=1 tool:result=1 tool:result=1", "user:a assistant:call=1 tool:1=r_1"),
    ("user:a assistant:call=1 user:b tool:result=1", "user:a assistant:call=1 tool:1=r_1 user:b"),
    ("user:a assistant:call=1 user:b", f"user:a assistant:call=1 tool:1={MISSING} user:b"),
    ("user:a assistant:call=1 assistant:b tool:result=1 user:c",
     f"user:a assistant:call=1 tool:1={MISSING} assistant:b user:c"),
    ("user:a assistant:call=1 tool:result=1!redacted", f"user:a assistant:call=1 tool:1={MISSING}"),
    ("user:a assistant:x+call=1!interrupted user:b", f"user:a assistant:x+call=1 tool:1={MISSING} user:b"),
    ("user:a assistant:call=1 tool:result=1 assistant:call=1 tool:result=1",
     "user:a assistant:call=1 tool:1=r_1 assistant:call=1 tool:1=r_1"),
    ("user:a assistant:call=1+call=1 tool:result=1+result=1",
     "user:a assistant:call=1+call=1_2 tool:1=r_1+1_2=r_1"),
    ("user:a assistant:b!failed user:c", "user:a assistant:b user:c"),
    ("system:s user:a assistant:b user:summary=z user:c", "system:s user:z user:c"),
    # One that says nothing stands for nothing.
    ("user:a assistant:b user:summary= user:c", "user:a assistant:b user:c"),
    # Written beside the summary, on another device: it stands for nothing that it does not know of.
    ("user:a assistant:b user:summary=z user:late^1 user:c^2,3", "user:z user:late user:c"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "expected"), TURNS)
def test_a_log_becomes_turns(table: str, expected: str) -> None:
    """Each log becomes what its row says."""
    assert " ".join(shown(turn).replace(" ", "_") for turn in normalize(log(table)).turns) == expected


def test_every_change_is_told() -> None:
    """What was left out or mended is named with a reason."""
    table = "user:a robot:r user:x!redacted user: assistant:call=1 user:b tool:result=9 assistant:c"
    told = normalize(log(table))
    assert [(note.about, note.reason) for note in told.left_out] == [
        ("1", "messages of the role 'robot' are not understood"),
        ("2", "it is redacted"),
        ("3", "it has no text"),
        ("6", "a result that no call waits for"),
    ]
    assert [note.about for note in told.repairs] == ["4"]


# A log with offers, and what is offered at its end.
OFFERS = [
    ("system:tools=ab user:x", "ab"),
    ("system:tools=ab user:x system:tools=c", "c"),
    ("system:tools=a user:x system:tools=ab^1 system:tools=c^1 merge:^2,3", "abc"),
    ("system:tools=a user:x system:tools=ab^1 system:tools=c^1 merge:^2,3 system:tools=d", "d"),
    ("user:x system:tools=", ""),
]


@pytest.mark.parametrize(("table", "expected"), OFFERS)
def test_an_offer_replaces_those_it_knew_of(table: str, expected: str) -> None:
    """Tools of two sides of a merge are all offered; a later change replaces what it was written upon."""
    assert "".join(tool.name for tool in normalize(log(table)).tools) == expected


@pytest.mark.parametrize("table", ["", "system:s", "user:a assistant:b", "assistant:b", "tool:result=1"])
def test_there_must_be_a_question(table: str) -> None:
    """A log that ends with an answer, or says nothing, can't be answered."""
    with pytest.raises(NothingToAnswer):
        normalize(log(table)).check_answerable()


WORDS = st.builds(
    "{}:{}{}".format,
    st.sampled_from(["system", "user", "user", "assistant", "assistant", "tool", "tool", "merge", "robot"]),
    st.lists(
        st.sampled_from(["a", "b", "call=1", "call=2", "result=1", "result=2", "reasoning=r", "odd=o"]),
        max_size=3,
    ).map("+".join),
    st.sampled_from(["", "", "", "!interrupted", "!redacted", "!failed", "!streaming"]),
)
LOGS = st.lists(WORDS, max_size=14).map(lambda words: log(" ".join(words)))


def is_sound(turns: Sequence[Turn]) -> bool:
    """Whether turns satisfy what every provider demands."""
    for turn, after in zip(turns, (*turns[1:], Turn("end")), strict=False):
        calls = [call.call_id for call in turn.calls]
        if (calls and [result.call_id for result in after.results] != calls) or len(set(calls)) < len(calls):
            return False
        if turn.role != "tool" and not turn.blocks:
            return False
    ids = [call.call_id for turn in turns for call in turn.calls]
    results = [result.call_id for turn in turns for result in turn.results]
    first = next((turn.role for turn in turns if turn.role != "system"), "user")
    return first == "user" and ids == results


@given(LOGS)
def test_any_log_becomes_turns_that_providers_take(entries: Sequence[Message]) -> None:
    """Calls have their results right behind them, ids are unique, the user begins, no turn is empty."""
    assert is_sound(normalize(entries).turns)


@given(LOGS)
def test_what_was_answered_never_changes(entries: Sequence[Message]) -> None:
    """What was sent for an answer is the beginning of every later request on the same log."""
    whole = normalize(entries)
    for place, message in enumerate(entries):
        if message.role == "assistant" and _is_sent(message, whole):
            before = normalize(entries[:place]).turns
            assert whole.turns[: len(before)] == before


def _is_sent(message: Message, turns: Turns) -> bool:
    return any(turn.message is message for turn in turns.turns)
