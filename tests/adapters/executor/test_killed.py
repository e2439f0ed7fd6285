"""Executors that are killed in the middle of a tool, and who goes on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from adapters import Executor, FunctionTool
from adapters.executor.calling import NOT_KNOWN
from adapters.executor.steps import Answer as AnswerStep
from adapters.executor.steps import CallTools, End, Step, next_step
from crdt_conv import Conversation, Message, MessageId, Part, Run, Store, Target
from crdt_conv.runs.calls import BEGUN, Call
from tests.adapters.dialogues import Dialogue
from tests.adapters.executor import dying
from tests.providers.chat import ChatServer
from tests.providers.serving import Answer, serving

pytestmark = pytest.mark.anyio

BOOK = Answer("", calls=[("book", '{"seat": "4A"}')])


@pytest.mark.parametrize(
    ("how", "booked", "told"),
    [("repeatable", ["4A", "4A"], "booked 4A"), ("once", ["4A"], NOT_KNOWN)],
)
async def test_a_tool_is_not_called_twice_unless_it_may_be(
    tmp_path: Path, how: str, booked: list[str], told: str
) -> None:
    """A real SIGKILL in the middle of the tool: the run goes on elsewhere, and says what is not known."""
    db, server = tmp_path / "a.db", ChatServer(BOOK, Answer("Done."))
    with Store(db) as store:
        asking = Dialogue(store)
        run = asking.request("openai-chat", "Book 4A.")
    async with serving(server) as url:
        command = [sys.executable, "-m", "tests.adapters.executor.dying", str(db), url, how]
        died = await anyio.run_process(command, check=False)
        assert died.returncode == -signal.SIGKILL
        tool = dying.booking(db.with_suffix(".booked"), is_deadly=False, is_repeatable=how == "repeatable")
        with Store(db) as store:
            talk = Dialogue(store, asking.conversation.id)
            assert [call.state for call in talk.conversation.runs[run.id].calls] == [BEGUN]
            async with Executor(store, [dying.adapter(url)], tools=[tool], ttl_s=1.0) as executor:
                executor.offer(talk.conversation)
                done = await talk.over(run)
            log = talk.conversation.log().messages
    assert db.with_suffix(".booked").read_text().split() == booked
    assert (done.state, [message.role for message in log]) == (
        "complete",
        ["user", "assistant", "tool", "assistant"],
    )
    assert (log[2].parts[0].content["content"], log[3].text, len(server.requests)) == (told, "Done.", 2)


async def test_an_executor_that_ends_in_a_tool_leaves_the_run_to_others() -> None:
    """Shut down in good order, any number of times: the run is not over, and does not count as broken off."""
    begun = anyio.Event()

    async def slow() -> str:
        begun.set()
        await anyio.sleep_forever()
        return ""

    server = ChatServer(Answer("", calls=[("slow", "{}")]), Answer("Done."))
    async with serving(server) as url:
        with Store(":memory:") as store:
            talk = Dialogue(store)
            run = talk.request("openai-chat", "Go.")
            for _ in range(4):
                begun = anyio.Event()
                tool = FunctionTool(slow, is_repeatable=True)
                async with Executor(store, [dying.adapter(url)], tools=[tool]) as executor:
                    executor.offer(talk.conversation)
                    await begun.wait()
                assert not talk.conversation.runs[run.id].is_over
            async with Executor(store, [dying.adapter(url)], tools=[FunctionTool(slow)]) as executor:
                executor.offer(talk.conversation)
                done = await talk.over(run)
    assert (done.state, len(server.requests)) == ("complete", 2)


async def test_without_tools_nobody_goes_on_with_calls() -> None:
    """An executor that has none leaves a run whose calls have begun to one that has."""
    with Store(":memory:") as store:
        talk = Dialogue(store)
        run = talk.request("openai-chat", "Go.")
        talk.conversation.runs.record(run.id, Call(MessageId("m"), "p", BEGUN, 1))
        async with Executor(store, [dying.adapter("http://127.0.0.1:9")]) as executor:
            executor.offer(talk.conversation)
            await anyio.wait_all_tasks_blocked()
        assert talk.conversation.runs[run.id].state == "requested"


# What is done next, wherever the owner before was killed.


def asked(conversation: Conversation) -> Run:
    """Ask for an answer."""
    conversation.append("user", "Book.")
    return conversation.runs.request(Target("x"))


def answered(conversation: Conversation, run: Run, stop: str = "tool_calls") -> str:
    """Write an answer with a call, that stops so."""
    writer = conversation.stream(parents=run.parents, run=run.id)
    writer.add(Part("p", "tool_call", {"call_id": "c", "name": "book", "arguments": "{}"}))
    conversation.runs.update(run.id, output=writer.message_id)
    return writer.finish(stop_reason=stop).id


def resulted(conversation: Conversation, run: Run, answer: str, *, is_named: bool = True) -> str:
    """Begin the results of an answer; ``is_named`` says whether the run got to know of them."""
    writer = conversation.stream("tool", parents=[answer], run=run.id)
    conversation.runs.record(run.id, Call(MessageId(answer), "p", BEGUN, 1))
    if is_named:
        conversation.runs.update(run.id, output=writer.message_id)
    return writer.message_id


def test_a_run_without_an_answer_asks_for_one() -> None:
    """At its own parents."""
    with Store(":memory:") as store:
        conversation = store.create("Trip")
        run = asked(conversation)
        assert next_step(conversation, run) == AnswerStep(run.parents)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("tool_calls", CallTools),
        ("pause", lambda answer: AnswerStep((answer.id,), rounds=1)),
        ("stop", lambda _: End("complete")),
        ("length", lambda _: End("complete")),
    ],
)
def test_a_whole_answer_is_not_asked_for_again(stop: str, expected: Callable[[Message], Step]) -> None:
    """Whatever it stopped for decides; it was paid for, also if its owner died before it said so."""
    with Store(":memory:") as store:
        conversation = store.create("Trip")
        run = asked(conversation)
        answer = answered(conversation, run, stop)
        assert next_step(conversation, conversation.runs[run.id]) == expected(conversation.message(answer))


@pytest.mark.parametrize("is_named", [True, False])
def test_results_go_on_in_the_message_that_was_begun(*, is_named: bool) -> None:
    """Also if its owner died before the run named it."""
    with Store(":memory:") as store:
        conversation = store.create("Trip")
        run = asked(conversation)
        answer = answered(conversation, run)
        begun = resulted(conversation, run, answer, is_named=is_named)
        step = next_step(conversation, conversation.runs[run.id])
        assert isinstance(step, CallTools)
        assert step.results is not None
        assert (step.answer.id, step.results.id) == (answer, begun)


@pytest.mark.parametrize("role", ["assistant", "tool"])
def test_what_is_redacted_is_not_gone_on_with(role: str) -> None:
    """Neither behind an answer that was taken out, nor behind its results."""
    with Store(":memory:") as store:
        conversation = store.create("Trip")
        run = asked(conversation)
        answer = answered(conversation, run)
        begun = resulted(conversation, run, answer)
        conversation.redact(answer if role == "assistant" else begun)
        assert next_step(conversation, conversation.runs[run.id]) == End("cancelled")
