"""Calls of tools, as a run has them on record; and what people say to them."""

from __future__ import annotations

from typing import Any

import pytest

from crdt_conv import Conversation, InvalidMessage, MessageId, Run, RunId, Target, new_part
from crdt_conv.runs.calls import BEGUN, DONE, PENDING, Call, read_calls
from tests.replicas import copy_of, replica

RECORD = {"message": "m", "part": "p", "state": "pending", "epoch": 1}


def waiting(*call_ids: str) -> tuple[Conversation, Run]:
    """Return a conversation with a run, whose calls of these ids wait for a person."""
    conversation = replica()
    conversation.append("user", "Delete it.")
    run = conversation.runs.request(Target("x"))
    parts = [new_part("tool_call", call_id=call_id, name="delete", arguments="{}") for call_id in call_ids]
    answer = conversation.append("assistant", parts=parts)
    calls = [Call(answer.id, part.id, PENDING, 1) for part in parts]
    return conversation, conversation.runs.record(run.id, *calls)


def test_each_call_is_answered_by_itself() -> None:
    """By the model's id or by its key, whatever comes first; the others wait on."""
    conversation, run = waiting("c1", "c2", "c3")
    runs = conversation.runs
    third = next(call for call in run.calls if runs._call_id(call) == "c3")
    runs.approve(run.id, "c1")
    runs.approve(run.id, third.key, approved=False)
    now = runs[run.id]
    assert {runs._call_id(call): call.approved for call in now.calls} == {"c1": True, "c2": None, "c3": False}
    assert [runs._call_id(call) for call in now.pending] == ["c2"]


def test_two_calls_of_one_id_are_two() -> None:
    """Some servers give one id twice: each answer is for the next that waits."""
    conversation, run = waiting("c", "c")
    conversation.runs.approve(run.id, "c")
    assert len(conversation.runs[run.id].pending) == 1
    conversation.runs.approve(run.id, "c", approved=False)
    assert sorted(str(call.approved) for call in conversation.runs[run.id].calls) == ["False", "True"]


def test_devices_that_answer_apart_agree() -> None:
    """Answers to two calls both count; of two to one call every replica takes the same."""
    ann, run = waiting("c1", "c2")
    bob = copy_of(ann)
    ann.runs.approve(run.id, "c1")
    bob.runs.approve(run.id, "c1", approved=False)
    bob.runs.approve(run.id, "c2")
    ann_sent, bob_sent = ann.encode(), bob.encode()
    ann.receive(bob_sent)
    bob.receive(ann_sent)
    assert ann.runs[run.id] == bob.runs[run.id]
    assert ann.runs[run.id].pending == ()


def test_a_run_that_is_over_waits_for_nobody() -> None:
    """What was not answered in time can't be answered any more."""
    conversation, run = waiting("c")
    conversation.runs.update(run.id, state="cancelled")
    assert conversation.runs[run.id].pending == ()
    with pytest.raises(InvalidMessage, match="waits for approval"):
        conversation.runs.approve(run.id, "c")


def test_a_record_holds_nothing_of_what_was_said() -> None:
    """Neither the tool nor its arguments: they go with the message when it is redacted."""
    conversation, run = waiting("c1")
    conversation.runs.approve(run.id, "c1")
    kept = str(conversation.read("runs", run.id))
    assert ("delete" in kept, "c1" in kept) == (False, False)


@pytest.mark.parametrize(
    "raw",
    [
        {"call:m:p": 5},
        {"call:m:p": {**RECORD, "state": None}},
        {"call:m:p": {"message": "m"}},
        {"call:other:p": RECORD},
        {"approval:m:p": {"approved": True}},
    ],
)
def test_what_is_no_record_is_passed_over(raw: dict[str, Any]) -> None:
    """A stranger's keys are no calls."""
    assert read_calls(raw) == ()


@pytest.mark.parametrize("answer", [5, {}, {"approved": "yes"}, {"approved": 1}, None])
def test_what_is_no_answer_approves_nothing(answer: object) -> None:
    """Only true approves: anything else leaves the call waiting."""
    [call] = read_calls({"call:m:p": {**RECORD, "epoch": float("nan")}, "approval:m:p": answer})
    assert (call.is_waiting, call.epoch) == (True, 0)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([(PENDING, None)], True),
        ([(PENDING, None), (DONE, None)], True),
        ([(PENDING, None), (BEGUN, None)], False),
        ([(PENDING, None), (PENDING, True)], False),
        ([(DONE, None)], False),
        ([], False),
    ],
)
def test_when_a_run_waits_for_a_person(states: list[tuple[str, bool | None]], *, expected: bool) -> None:
    """Only when nothing else of it can be done."""
    calls = tuple(Call(MessageId("m"), str(at), state, 1, said) for at, (state, said) in enumerate(states))
    run = Run(RunId("r"), (), "main", Target("x"), calls=calls)
    assert run.is_waiting is expected


@pytest.mark.parametrize(("parked", "expected"), [(0, 3), (2, 1), (3, 0)])
def test_who_has_broken_off(parked: int, expected: int) -> None:
    """Owners that put the run down in good order don't count, nor do those before them."""
    claims = tuple({"epoch": epoch} for epoch in (1, 2, 3, "x"))
    assert Run(RunId("r"), (), "main", Target("x"), claims=claims, parked=parked).broken_off == expected
