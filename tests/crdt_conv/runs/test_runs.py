"""Runs: asking for an answer, and what is written down of it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pycrdt import Doc, Map

from crdt_conv import InvalidMessage, Target, UnknownRun
from crdt_conv.runs.run import parse_run
from tests.replicas import copy_of, replica

LLAMA = Target("llamacpp", model="smol", params={"max_tokens": 5})


def test_a_run_asks_for_an_answer_to_the_heads() -> None:
    """A requested run has the heads as parents, and everything that the contract names."""
    conversation = replica()
    asked = conversation.append("user", "Where?")
    run = conversation.runs.request(LLAMA)
    assert (run.parents, run.branch, run.state, run.target) == ((asked.id,), "main", "requested", LLAMA)
    assert (run.claims, run.outputs, run.cancel, run.requested_by) == (
        (),
        (),
        False,
        conversation.author.device,
    )


def test_asking_again_asks_for_an_alternative() -> None:
    """At the end of a branch that was answered, the same question is answered again."""
    conversation = replica()
    asked = conversation.append("user", "Where?")
    conversation.append("assistant", "Rome.")
    assert conversation.runs.request(LLAMA).parents == (asked.id,)


def test_there_must_be_something_to_answer() -> None:
    """An empty conversation has nothing to answer."""
    with pytest.raises(InvalidMessage, match="append a message first"):
        replica().runs.request(LLAMA)


def test_a_run_is_written_down_as_it_goes() -> None:
    """Claims and outputs grow, and everything travels to other replicas."""
    conversation = replica()
    asked = conversation.append("user", "Where?")
    run = conversation.runs.request(LLAMA)
    conversation.runs.claim(run.id, "box", 1)
    conversation.runs.claim(run.id, "laptop", 2)
    conversation.runs.update(run.id, state="complete", output=asked.id, sent={"log": "ab"})
    seen = copy_of(conversation).runs[run.id]
    assert (seen.epoch, seen.outputs, seen.state, seen.sent) == (2, (asked.id,), "complete", {"log": "ab"})
    assert seen.is_over


def test_a_run_that_is_over_is_not_cancelled() -> None:
    """The flag is set while it means something."""
    conversation = replica()
    conversation.append("user", "Where?")
    run = conversation.runs.request(LLAMA)
    assert conversation.runs.cancel(run.id).cancel
    conversation.runs.update(run.id, state="cancelled", cancel=False)
    assert not conversation.runs.cancel(run.id).cancel


def test_a_stranger_s_entry_is_no_run() -> None:
    """What has not the shape of a run is passed over in the list, and unknown by its id."""
    doc: Doc[Map[object]] = Doc()
    doc.get("runs", type=Map)["r"] = Map({"parents": 3})
    conversation = replica()
    conversation.receive(doc.get_update())
    assert conversation.runs.all() == []
    with pytest.raises(UnknownRun):
        conversation.runs["r"]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -1, 1e300, 2.0**60, True, "7", None, [1]])
def test_a_strangers_epoch_is_passed_over(odd: object) -> None:
    """What is no whole number that may be counted on from is none; the others count."""
    claims = [{"executor": "x", "epoch": odd}, {"executor": "y", "epoch": 3}]
    raw = {"parents": ["m"], "target": {"adapter": "a"}, "claims": claims, "epoch:m": odd, "epoch:n": 2}
    run = parse_run("r", raw)
    assert (run.epoch, run.broken_off, run.epochs) == (3, 1, {"n": 2})


def test_a_hostile_epoch_in_a_document_is_read() -> None:
    """Also as raw Yjs has it."""
    conversation = replica()
    conversation.append("user", "Where?")
    run = conversation.runs.request(LLAMA)
    doc: Doc[Any] = Doc()
    doc.apply_update(conversation.encode())
    for odd in (math.nan, math.inf):
        doc.get("runs", type=Map)[run.id]["claims"].append({"executor": "x", "epoch": odd})
    conversation.receive(doc.get_update(), "a stranger")
    assert (conversation.runs[run.id].epoch, conversation.runs.all()[0].broken_off) == (0, 0)
