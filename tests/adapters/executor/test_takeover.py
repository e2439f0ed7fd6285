"""What an executor makes of what the owner before it left: half-written messages, and answers twice over."""

from __future__ import annotations

import anyio
import pytest

from adapters import Executor, FunctionTool
from adapters.answers import answer, wait_until_over
from adapters.executor.fulfil import end_outputs, mend_outputs
from adapters.executor.steps import End, next_step
from crdt_conv import Author, Conversation, MessageId, MessageWriter, Part, Run, Store, Target
from crdt_conv.runs.calls import BEGUN, DONE, Call
from tests.adapters.fakes import STOP, ScriptedAdapter, says
from tests.replicas import copy_of, replica

pytestmark = pytest.mark.anyio

TARGET = Target("scripted")


def asked(conversation: Conversation) -> Run:
    """Ask for an answer."""
    conversation.append("user", "Where?")
    return conversation.runs.request(TARGET)


def begun(conversation: Conversation, run: Run, epoch: int, text: str) -> MessageWriter:
    """Claim a run, and begin an answer."""
    conversation.runs.claim(run.id, conversation.author.device, epoch)
    writer = conversation.stream(
        parents=run.parents, run=run.id, author=Author("model", conversation.author.device)
    )
    writer.write(text)
    conversation.runs.update(run.id, state="streaming", output=writer.message_id, epoch=epoch)
    return writer


def whole(conversation: Conversation, run: Run, epoch: int, text: str) -> MessageId:
    """Claim a run, and answer it."""
    message = begun(conversation, run, epoch, text).finish(stop_reason="stop")
    conversation.runs.update(run.id, state="complete")
    return message.id


async def test_half_written_results_are_gone_on_with() -> None:
    """They are not called interrupted: the call that has its result is not made again, the other is."""
    made: list[str] = []
    seen: list[str] = []

    def look(what: str) -> str:
        made.append(what)
        seen.append(conversation.message(results.message_id).status)
        return f"saw {what}"

    with Store(":memory:") as store:
        conversation = store.create()
        run = asked(conversation)
        conversation.runs.claim(run.id, "the dead", 1)
        writer = conversation.stream(parents=run.parents, run=run.id)
        for key in "ab":
            writer.add(
                Part(key, "tool_call", {"call_id": key, "name": "look", "arguments": f'{{"what":"{key}"}}'})
            )
        conversation.runs.update(run.id, output=writer.message_id)
        calls = writer.finish(stop_reason="tool_calls").id
        results = conversation.stream("tool", parents=[calls], run=run.id)
        conversation.runs.update(run.id, output=results.message_id)
        results.add(Part("a", "tool_result", {"call_id": "a", "content": "saw a", "is_error": False}))
        records = [Call(calls, "a", DONE, 1), Call(calls, "b", BEGUN, 1)]
        conversation.runs.record(run.id, *records)
        adapter = ScriptedAdapter([says("Both."), STOP])
        tools = [FunctionTool(look, is_repeatable=True)]
        async with Executor(store, [adapter], tools=tools) as executor:
            executor.offer(conversation)
            with anyio.fail_after(20):
                done = await wait_until_over(conversation, run.id)
        log = conversation.log().messages
    assert seen == ["streaming"]
    assert (done.state, made, [message.status for message in log]) == ("complete", ["b"], ["complete"] * 4)
    assert [part.content["content"] for part in log[2].parts] == ["saw a", "saw b"]


def test_what_is_ended_is_what_streams_and_is_here() -> None:
    """An output that has not come yet is no reason to fail; only the roles that are named are ended."""
    conversation = replica()
    run = asked(conversation)
    writer = begun(conversation, run, 1, "Ro")
    results = conversation.stream("tool", parents=[writer.message_id], run=run.id)
    conversation.runs.update(run.id, output=results.message_id)
    conversation.runs.update(run.id, output=MessageId("not here"))
    end_outputs(conversation, conversation.runs[run.id], roles={"assistant"})
    statuses = [conversation.message(each).status for each in (writer.message_id, results.message_id)]
    assert statuses == ["interrupted", "streaming"]
    end_outputs(conversation, conversation.runs[run.id])
    assert conversation.message(results.message_id).status == "interrupted"


# Two that were cut off from each other.


@pytest.mark.parametrize("is_later_first", [True, False])
def test_the_highest_epoch_wins_everywhere(*, is_later_first: bool) -> None:
    """Whoever wrote first, whichever id is smaller: all replicas show one answer, and keep the other."""
    ours = replica()
    run = asked(ours)
    theirs = copy_of(ours)
    for epoch, side in ((2, theirs), (1, ours)) if is_later_first else ((1, ours), (2, theirs)):
        whole(side, run, epoch, f"epoch {epoch}")
    ours.receive(theirs.encode(), "theirs")
    theirs.receive(ours.encode(), "ours")
    for side in (ours, theirs, copy_of(ours)):
        assert [message.text for message in side.log().messages] == ["Where?", "epoch 2"]
        shown = answer(side, side.runs[run.id])
        assert shown is not None
        assert {message.text for message in side.alternatives(shown.id)} == {"epoch 1", "epoch 2"}
        assert shown.text == "epoch 2"


def test_in_one_epoch_the_smallest_id_wins() -> None:
    """Both claimed it without a word to each other."""
    ours = replica()
    run = asked(ours)
    theirs = copy_of(ours)
    ids = [whole(side, run, 1, "an answer") for side in (theirs, ours)]
    ours.receive(theirs.encode(), "theirs")
    assert ours.log().messages[-1].id == min(ids)


def test_a_person_chooses_all_the_same() -> None:
    """The one in ``choices`` is shown, whoever won."""
    ours = replica()
    run = asked(ours)
    theirs = copy_of(ours)
    lost = whole(ours, run, 1, "epoch 1")
    whole(theirs, run, 2, "epoch 2")
    ours.receive(theirs.encode(), "theirs")
    ours.choose(lost)
    assert ours.log().messages[-1].id == lost


@pytest.mark.parametrize("_again", range(8))
def test_one_answer_is_enough(_again: int) -> None:
    """
    A run is complete whatever another owner wrote of it, and nothing is asked again.

    Of two states the one of the larger client id stays, which is drawn: so it is tried several times.
    """
    ours = replica()
    run = asked(ours)
    theirs = copy_of(ours)
    whole(ours, run, 1, "an answer")
    begun(theirs, run, 2, "another").finish("interrupted")
    theirs.runs.update(run.id, state="interrupted")
    for side, other in ((ours, theirs), (theirs, ours)):
        side.receive(other.encode(), "the other")
        assert (side.runs[run.id].state, next_step(side, side.runs[run.id])) == ("complete", End("complete"))


def test_an_answer_that_came_to_its_end_is_not_interrupted() -> None:
    """Whoever took over called it so, and of the two statuses one was lost."""
    ours = replica()
    run = asked(ours)
    writer = begun(ours, run, 1, "an answer")
    theirs = copy_of(ours)
    # Theirs is written later, so that it is the one that stays wherever clocks decide.
    writer.finish(stop_reason="stop")
    ours.runs.update(run.id, state="complete")
    end_outputs(theirs, theirs.runs[run.id])
    ours.receive(theirs.encode(), "theirs")
    mend_outputs(ours, ours.runs[run.id])
    assert ours.message(writer.message_id).status == "complete"


def test_what_its_own_process_left_streaming_is_ended() -> None:
    """Under a run that somebody else answered; another device's is left to that device."""
    ours = replica()
    run = asked(ours)
    theirs = copy_of(ours)
    own, other = begun(ours, run, 1, "Ro").message_id, begun(theirs, run, 1, "Par").message_id
    ours.receive(theirs.encode(), "theirs")
    mend_outputs(ours, ours.runs[run.id])
    assert [ours.message(each).status for each in (own, other)] == ["interrupted", "streaming"]
