"""Sessions that still run: imported now and then, all of what was said is there, and nothing twice."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import Conversation, Store
from syncd.interchange import ImportRefused
from tests.syncd.interchange import test_formats as formats
from tests.syncd.interchange import test_sessions as sessions
from tests.syncd.interchange.reading import DATA, said, shape, take_in, written
from tests.syncd.interchange.test_real_files import KNOWN, needs_files

ONE = {"id": "msg_1", "model": "claude-opus-4-5"}
CLAUDE = (
    formats.line("q", None, "user", "Where?"),
    formats.line("a", "q", "assistant", [{"type": "text", "text": "I look."}], message=ONE),
    formats.line("b", "a", "assistant", [formats.use(1)], message=ONE),
    formats.line("r", "b", "user", [formats.result(1)]),
    formats.line("c", "r", "assistant", [{"type": "text", "text": "To the sea."}], message={"id": "msg_2"}),
    formats.line("d", "c", "assistant", [{"type": "text", "text": "Or the hills."}], message={"id": "msg_2"}),
)
CODEX = (
    sessions.META,
    sessions.asks("Where?"),
    sessions.answers("I look."),
    sessions.codex("function_call", name="ls", arguments="{}", call_id="t1"),
    sessions.codex("function_call_output", call_id="t1", output="done 1"),
    sessions.answers("To the sea."),
    sessions.answers("Or the hills."),
)
ENDED = [
    ("user", "text"),
    ("assistant", "text", "tool_call"),
    ("tool", "tool_result"),
    ("assistant", "text", "text"),
]


@pytest.mark.parametrize("lines", [CLAUDE, CODEX], ids=["claude-code", "codex"])
def test_an_answer_that_goes_on_is_there_whole(tmp_path: Path, lines: tuple[Any, ...]) -> None:
    """Imported after every line, the log is in the end as if the session had been imported once."""
    store = Store(":memory:")
    for count in range(2, len(lines) + 1):
        found = take_in(store, written(tmp_path / "session.jsonl", lines[:count]))
    [grown] = found
    assert [(role, *[p for p in parts if p != "media"]) for role, *parts in shape(grown)] == ENDED
    [whole] = take_in(Store(":memory:"), tmp_path / "session.jsonl")
    assert said(grown) == said(whole)
    assert grown.branches == ["main"]
    assert not grown.problems()
    count = len(grown)
    take_in(store, tmp_path / "session.jsonl")
    assert len(grown) == count


def test_what_was_redacted_stays_so(tmp_path: Path) -> None:
    """An answer that was redacted does not come back with its session."""
    store = Store(":memory:")
    [trip] = take_in(store, written(tmp_path / "session.jsonl", CLAUDE[:2]))
    trip.redact(trip.log().messages[1].id)
    take_in(store, written(tmp_path / "session.jsonl", CLAUDE[:3]))
    assert sorted(message.status for message in trip.messages()) == ["complete", "redacted"]


def test_an_answer_that_was_continued_stays_the_reply(tmp_path: Path) -> None:
    """Where its results are there already, what an answer grew to stands beside it, and cuts nothing off."""
    second = formats.line("b2", "b", "assistant", [formats.use(2)], message=ONE)
    third = formats.line("r2", "b2", "user", [formats.result(2)])
    end = formats.line("c", "r2", "assistant", [{"type": "text", "text": "To the sea."}], message={"id": "m"})
    store = Store(":memory:")
    take_in(store, written(tmp_path / "session.jsonl", CLAUDE[:4]))
    [trip] = take_in(store, written(tmp_path / "session.jsonl", (*CLAUDE[:4], second, third, end)))
    assert said(trip)[-1] == "To the sea."
    [_, reply, *_] = trip.log().messages
    assert [part.type for part in reply.parts] == ["text", "tool_call"]
    assert sorted(len(other.parts) for other in trip.alternatives(reply.id)) == [2, 3]
    assert (trip.branches, trip.log().is_diverged) == (["main"], False)


def test_a_reader_who_went_back_and_on_elsewhere(tmp_path: Path) -> None:
    """What was main at the first import stays so; what came instead is a branch, and nothing is diverged."""
    asked = formats.node("q", "root", "user", "Where?")
    first = formats.node("a1", "q", "assistant", "To the sea."), formats.node("q2", "a1", "user", "When?")
    second = formats.node("a2", "q", "assistant", "To the hills."), formats.node("q3", "a2", "user", "How?")
    store, path = Store(":memory:"), tmp_path / "conversations.json"
    take_in(store, written(path, [formats.chatgpt(asked, *first, current="q2")]))
    [trip] = take_in(store, written(path, [formats.chatgpt(asked, *first, *second, current="q3")]))
    assert said(trip) == ["Where?", "To the sea.", "When?"]
    [_, other] = trip.branches
    assert said(trip, other) == ["Where?", "To the hills.", "How?"]
    assert not trip.log().is_diverged


def test_an_answer_asked_for_again(tmp_path: Path) -> None:
    """Another answer since the last import is an alternative of the first, and the one that is read."""
    asked, first = formats.node("q", "root", "user", "Where?"), formats.node("a1", "q", "assistant", "Sea.")
    store, path = Store(":memory:"), tmp_path / "conversations.json"
    take_in(store, written(path, [formats.chatgpt(asked, first, current="a1")]))
    again = formats.node("a2", "q", "assistant", "Hills.")
    [trip] = take_in(store, written(path, [formats.chatgpt(asked, first, again, current="a2")]))
    assert (said(trip), trip.branches) == (["Where?", "Hills."], ["main"])
    assert len(trip.alternatives(trip.log().messages[1].id)) == 2


def test_two_ways_that_were_new(tmp_path: Path) -> None:
    """Where the reader went on elsewhere, and forked another question too, each is a branch."""
    asked = formats.node("q", "root", "user", "Where?"), formats.node("a1", "q", "assistant", "Sea.")
    first = formats.node("q2", "a1", "user", "When?")
    elsewhere = formats.node("a2", "q", "assistant", "Hills."), formats.node("q3", "a2", "user", "How?")
    store, path = Store(":memory:"), tmp_path / "conversations.json"
    take_in(store, written(path, [formats.chatgpt(*asked, first, current="q2")]))
    edited = formats.node("q4", "a1", "user", "Why?")
    value = formats.chatgpt(*asked, first, edited, *elsewhere, current="q3")
    [trip] = take_in(store, written(path, [value]))
    ways = {said(trip, branch)[-1] for branch in trip.branches}
    assert (ways, len(trip.branches)) == ({"When?", "How?", "Why?"}, 3)
    assert not any(trip.log(branch).is_diverged for branch in trip.branches)


# Trees, one a line; and one made by hand that tells a thought twice, so that its half says something else.
ODD = ("openassistant/en_100_tree.jsonl", "codex/codex-transcripts/sample_rollout.jsonl")
SESSIONS = [name for name in KNOWN if name.endswith(".jsonl") and name not in ODD]


@needs_files
@pytest.mark.parametrize("name", SESSIONS)
def test_real_sessions_that_grow(tmp_path: Path, name: str) -> None:
    """Imported at a third and two thirds, and at the end: every text and call is there, on one way."""
    whole, store, found = (DATA / name).read_bytes(), Store(":memory:"), []
    for part in (1, 2, 3):
        (tmp_path / "session.jsonl").write_bytes(whole[: len(whole) * part // 3])
        with suppress(ImportRefused):
            found = take_in(store, tmp_path / "session.jsonl")
    [grown], [once] = found, take_in(Store(":memory:"), tmp_path / "session.jsonl")
    assert grown.id == once.id
    assert _told(once) <= _told(grown)
    assert grown.log().is_diverged <= once.log().is_diverged


def _told(conversation: Conversation) -> set[object]:
    parts = [part for message in conversation.messages() for part in message.parts]
    told = {part.content.get("call_id") if part.type == "tool_call" else part.text for part in parts}
    return told - {""}
