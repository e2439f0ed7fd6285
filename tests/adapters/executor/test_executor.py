"""The executor: every way a run can go, each with the real document and a scripted provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from adapters import Executor, ProviderUnavailable, RequestRefused, RunFailed, StreamBroken
from adapters.answers import wait_until_over
from adapters.exchange import Note
from adapters.executor import retries
from crdt_conv import Conversation, InvalidMessage, Run, Store, Target
from crdt_conv.document import schema
from tests.adapters.fakes import STOP, ContinuingAdapter, ScriptedAdapter, says
from tests.replicas import copy_of, sqlite_of

pytestmark = pytest.mark.anyio

TARGET = Target("scripted")


@pytest.fixture
def store() -> Iterator[Store]:
    """Return a store in memory."""
    with Store(":memory:") as opened:
        yield opened


@pytest.fixture
def conversation(store: Store) -> Conversation:
    """Return a conversation with a question."""
    asked = store.create("Trip")
    asked.append("user", "Where?")
    return asked


async def over(conversation: Conversation, run: Run) -> Run:
    """Wait for a run to end."""
    with anyio.fail_after(20):
        return await wait_until_over(conversation, run.id)


async def test_an_answer_is_streamed_and_written_down(store: Store, conversation: Conversation) -> None:
    """The pieces come as they are said; message and run hold everything that the contract names."""
    adapter = ScriptedAdapter([says("Ro"), says("me."), STOP])
    async with Executor(store, [adapter]) as executor:
        pieces = [piece async for piece in executor.run(conversation)]
    [run], reply = conversation.runs.all(), conversation.log().messages[-1]
    assert "".join(pieces) == reply.text == "Rome."
    assert (reply.status, reply.run, reply.stop_reason, reply.author.kind) == (
        "complete",
        run.id,
        "stop",
        "model",
    )
    assert (reply.usage, reply.parents) == ({"input_tokens": 5, "output_tokens": 2}, run.parents)
    assert (run.state, run.outputs, run.epoch, run.error) == ("complete", (reply.id,), 1, None)


async def test_what_was_sent_is_on_record(store: Store, conversation: Conversation) -> None:
    """The run names the materializer, the log's and the request's digest, and what was left out."""
    adapter = ScriptedAdapter([says("x"), STOP])
    digest = conversation.log().digest.hex()
    async with Executor(store, [adapter]):
        run = await over(conversation, conversation.runs.request(Target("scripted", params={"odd": 1})))
    assert run.sent == {
        "materializer": "scripted/1",
        "messages": 1,
        "left_out": [{"about": "odd", "reason": "this parameter is not sent"}],
        "repairs": [],
        "log": digest,
        "request": adapter.calls[0].digest,
    }


async def test_what_only_the_call_could_tell_is_on_record_too(
    store: Store, conversation: Conversation
) -> None:
    """A report that comes with the answer is added to what was written down before, and begins no message."""
    told = {"reported": {"repairs": (Note("m", "mended"),), "reused": {"kv_tokens": 9}}}
    away = ProviderUnavailable("away", retry_after_s=0.001)
    adapter = ScriptedAdapter([told, RequestRefused("no")], [told, away], [told, says("x"), STOP])
    async with Executor(store, [adapter]):
        refused = await over(conversation, conversation.runs.request(TARGET))
        run = await over(conversation, conversation.runs.request(Target("scripted", params={"odd": 1})))
    assert (refused.outputs, (refused.sent or {})["reused"]) == ((), {"kv_tokens": 9})
    sent = run.sent or {}
    assert (sent["reused"], sent["repairs"]) == ({"kv_tokens": 9}, [{"about": "m", "reason": "mended"}])
    assert [note["about"] for note in sent["left_out"]] == ["odd"]


async def test_tokens_are_written_in_batches(store: Store, conversation: Conversation) -> None:
    """A hundred tokens that come at once are a few updates, not a hundred."""
    adapter = ScriptedAdapter([*(says("word ") for _ in range(100)), STOP])
    before = conversation.last_seq
    async with Executor(store, [adapter]):
        await over(conversation, conversation.runs.request(TARGET))
    assert conversation.log().messages[-1].text == "word " * 100
    assert conversation.last_seq - before < 15


async def test_cancel_ends_the_call_and_keeps_the_text(store: Store, conversation: Conversation) -> None:
    """The flag in the document ends the provider's call; what had come stays."""
    adapter = ScriptedAdapter([says("Ro"), None, STOP])
    async with Executor(store, [adapter]):
        requested = conversation.runs.request(TARGET)
        await adapter.is_paused.wait()
        conversation.runs.cancel(requested.id)
        run = await over(conversation, requested)
    reply = conversation.log().messages[-1]
    assert (run.state, reply.status, reply.text, adapter.ended) == ("cancelled", "cancelled", "Ro", 1)


async def test_an_answer_redacted_on_its_way_stays_empty(store: Store, conversation: Conversation) -> None:
    """What comes after a redaction is written nowhere, the call ends, and the executor goes on."""
    adapter = ScriptedAdapter([says("Ro"), None, says("me"), None])
    async with Executor(store, [adapter]):
        requested = conversation.runs.request(TARGET)
        await adapter.is_paused.wait()
        with anyio.fail_after(10):
            while not (output := conversation.runs[requested.id].outputs):  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.01)
        conversation.redact(output[0])
        adapter.release.set()
        run = await over(conversation, requested)
    reply = conversation.message(run.outputs[0])
    assert (run.state, reply.status, reply.text, adapter.ended) == ("cancelled", "redacted", "", 1)


async def test_leaving_the_pieces_cancels_the_run(store: Store, conversation: Conversation) -> None:
    """Who stops listening to run() stops paying for it."""
    adapter = ScriptedAdapter([says("Ro"), None, STOP])
    async with Executor(store, [adapter]) as executor:
        pieces = executor.run(conversation)
        assert await anext(pieces) == "Ro"
        await pieces.aclose()
        run = await over(conversation, conversation.runs.all()[0])
    assert (run.state, adapter.ended) == ("cancelled", 1)


async def test_shutting_down_interrupts(store: Store, conversation: Conversation) -> None:
    """An executor that ends in the middle of an answer says so in the document."""
    adapter = ScriptedAdapter([says("Ro"), None, STOP])
    async with Executor(store, [adapter]):
        requested = conversation.runs.request(TARGET)
        await adapter.is_paused.wait()
    reply = conversation.log().messages[-1]
    assert (conversation.runs[requested.id].state, reply.status, reply.text) == (
        "interrupted",
        "interrupted",
        "Ro",
    )


async def test_a_refusal_fails_the_run_and_writes_no_message(
    store: Store, conversation: Conversation
) -> None:
    """An error before the first token leaves a reason, and nothing empty in the log."""
    adapter = ScriptedAdapter([RequestRefused("no such thing")])
    async with Executor(store, [adapter]) as executor:
        with pytest.raises(RunFailed, match="no such thing"):
            async for _ in executor.run(conversation):
                pass
    [run] = conversation.runs.all()
    assert (run.error, len(conversation.log().messages)) == (
        {"type": "request_refused", "message": "no such thing"},
        1,
    )


async def test_a_break_in_the_middle_keeps_the_text(store: Store, conversation: Conversation) -> None:
    """An answer that breaks off is interrupted, its run failed, and nothing is tried again."""
    adapter = ScriptedAdapter([says("Ro"), StreamBroken("cut")], [says("Rome."), STOP])
    async with Executor(store, [adapter]):
        run = await over(conversation, conversation.runs.request(TARGET))
    reply = conversation.log().messages[-1]
    assert (run.state, reply.status, reply.text, len(adapter.calls)) == ("failed", "interrupted", "Ro", 1)


async def test_a_provider_that_is_away_is_asked_again(
    store: Store, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first token a passing fault is tried again, and not for ever."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.001)
    away = [ProviderUnavailable("away")]
    adapter = ScriptedAdapter(away, [says("Rome."), STOP], *([away] * 10))
    async with Executor(store, [adapter]):
        first = await over(conversation, conversation.runs.request(TARGET))
        second = await over(conversation, conversation.runs.request(TARGET))
    assert (first.state, second.state, len(adapter.calls)) == ("complete", "failed", 2 + retries.MAX_ATTEMPTS)


async def test_two_executors_make_one_call(store: Store, conversation: Conversation) -> None:
    """Of two executors on one store, the lease lets one answer."""
    adapters = [ScriptedAdapter([says("x"), None, STOP]) for _ in range(2)]
    async with Executor(store, [adapters[0]], ttl_s=0.3), Executor(store, [adapters[1]], ttl_s=0.3):
        requested = conversation.runs.request(TARGET)
        await adapters[0].is_paused.wait()
        adapters[0].release.set()
        await over(conversation, requested)
    assert [len(adapter.calls) for adapter in adapters] == [1, 0]


async def test_a_run_is_taken_over_when_its_owner_is_gone(store: Store, conversation: Conversation) -> None:
    """What a dead executor left becomes interrupted, and the answer begins again under the next epoch."""
    run = conversation.runs.request(TARGET)
    assert store.engine.acquire_lease(f"run:{run.id}", "the dead", at_ms=0, until_ms=1) == 1
    conversation.runs.claim(run.id, "the dead", 1)
    writer = conversation.stream(parents=run.parents, run=run.id)
    writer.write("Ro")
    conversation.runs.update(run.id, state="streaming", output=writer.message.id)
    adapter = ScriptedAdapter([says("Rome."), STOP])
    async with Executor(store, [adapter]) as executor:
        executor.offer(conversation)
        done = await over(conversation, run)
    assert (writer.message.status, done.epoch, len(done.outputs)) == ("interrupted", 2, 2)
    assert [message.text for message in conversation.log().messages] == ["Where?", "Rome."]


@pytest.mark.parametrize(("kind", "expected"), [(ContinuingAdapter, "Ro"), (ScriptedAdapter, "Where?")])
async def test_who_can_goes_on_with_what_a_dead_owner_left(
    store: Store, conversation: Conversation, kind: type[ScriptedAdapter], expected: str
) -> None:
    """An adapter that says so gets the interrupted answer at the end of the log; any other begins anew."""
    run = conversation.runs.request(TARGET)
    conversation.runs.claim(run.id, "the dead", 1)
    writer = conversation.stream(parents=run.parents, run=run.id)
    writer.write("Ro")
    conversation.runs.update(run.id, state="streaming", output=writer.message.id)
    adapter = kind([says("Rome."), STOP])
    async with Executor(store, [adapter]) as executor:
        executor.offer(conversation)
        await over(conversation, run)
    assert (adapter.calls[0].body or {})["messages"][-1]["content"] == expected
    assert [message.text for message in conversation.log().messages] == ["Where?", "Rome."]


@pytest.mark.parametrize("is_here_before", [True, False])
async def test_what_was_redacted_is_forgotten(
    store: Store, conversation: Conversation, *, is_here_before: bool
) -> None:
    """By every adapter that keeps something, with what it answered; also if that was before it began."""
    question = conversation.log().messages[-1]
    reply = conversation.append("assistant", "Rome.")
    adapter = ContinuingAdapter()
    if not is_here_before:
        conversation.redact(reply.id)
    async with Executor(store, [adapter]) as executor:
        executor.offer(conversation)
        if is_here_before:
            assert not adapter.forgotten
            conversation.redact(reply.id)
        assert adapter.forgotten == {question.id, reply.id}


async def test_a_run_that_always_breaks_off_is_given_up(store: Store, conversation: Conversation) -> None:
    """After three owners that died the run fails with a reason."""
    run = conversation.runs.request(TARGET)
    for epoch in (1, 2, 3):
        conversation.runs.claim(run.id, "the dead", epoch)
    adapter = ScriptedAdapter()
    async with Executor(store, [adapter]) as executor:
        executor.offer(conversation)
        done = await over(conversation, run)
    assert (done.state, adapter.calls) == ("failed", [])
    assert "broke off 3 times" in str((done.error or {})["message"])


async def test_who_loses_the_lease_stops_without_a_word(store: Store, conversation: Conversation) -> None:
    """A later owner fences off an earlier one: it ends its call and writes nothing more."""
    adapter = ScriptedAdapter([says("Ro"), None, STOP])
    async with Executor(store, [adapter], ttl_s=0.2, renew_s=0.3):
        run = conversation.runs.request(TARGET)
        await adapter.is_paused.wait()
        # Its lease ends before it renews, and goes to somebody else for long.
        with anyio.fail_after(5):
            while store.engine.acquire_lease(f"run:{run.id}", "another", at_ms=2**52, until_ms=2**53) is None:  # noqa: ASYNC110 - the lease has no event
                await anyio.sleep(0.01)
            while not adapter.ended:  # noqa: ASYNC110 - the fake tells by a counter
                await anyio.sleep(0.01)
        assert conversation.runs[run.id].state == "streaming"


@pytest.mark.parametrize("end", [STOP, StreamBroken("it broke off")])
async def test_who_slept_says_nothing_of_a_run_that_is_anothers(
    store: Store, conversation: Conversation, end: Any
) -> None:
    """Before it renewed, its call ended, well or not: the run's state is the next owner's to write."""
    adapter = ScriptedAdapter([says("Ro"), None, end])
    async with Executor(store, [adapter], ttl_s=0.05, renew_s=1000):
        run = conversation.runs.request(TARGET)
        await adapter.is_paused.wait()
        with anyio.fail_after(5):
            while store.leases.acquire(f"run:{run.id}", "another", 60) is None:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.01)
            adapter.release.set()
            while not adapter.ended:  # noqa: ASYNC110 - the fake tells by a counter
                await anyio.sleep(0.01)
        await anyio.wait_all_tasks_blocked()
        assert (conversation.runs[run.id].state, conversation.runs[run.id].error) == ("streaming", None)


async def test_a_full_disk_ends_one_run_and_no_other(store: Store, conversation: Conversation) -> None:
    """When an answer can't be written, its run is given up; with room again the next one is answered."""
    adapter = ScriptedAdapter([says("Ro"), None, says("x" * 200_000), STOP], [says("Rome."), STOP])
    async with Executor(store, [adapter]):
        conversation.runs.request(TARGET)
        await adapter.is_paused.wait()
        pages = sqlite_of(store).execute("pragma page_count").fetchone()[0]
        sqlite_of(store).execute(f"pragma max_page_count = {pages}")
        adapter.release.set()
        with anyio.fail_after(10):
            while not adapter.ended:  # noqa: ASYNC110 - the fake tells by a counter
                await anyio.sleep(0.01)
        await anyio.wait_all_tasks_blocked()
        sqlite_of(store).execute("pragma max_page_count = 100000")
        done = await over(conversation, conversation.runs.request(TARGET))
    assert done.state == "complete"


async def test_a_run_waits_for_its_messages(store: Store, conversation: Conversation) -> None:
    """A run that arrives before what it answers is fulfilled when that has come, not failed."""
    source = copy_of(conversation)
    asked = source.append("user", "And then?")
    update = source.encode(conversation.state_vector)
    with conversation.writing() as document:
        fields = {"parents": [asked.id], "branch": "main", "target": TARGET.as_json(), "state": "requested"}
        document.put("runs", "early", schema.run_map(fields))
    adapter = ScriptedAdapter([says("Rome."), STOP])
    async with Executor(store, [adapter]) as executor:
        executor.offer(conversation)
        await anyio.wait_all_tasks_blocked()
        assert (conversation.runs["early"].state, adapter.calls) == ("requested", [])
        conversation.receive(update)
        done = await over(conversation, conversation.runs["early"])
    assert done.state == "complete"


async def test_a_run_that_was_cancelled_after_its_owner_died_leaves_nothing_streaming(
    store: Store, conversation: Conversation
) -> None:
    """What a dead executor left is ended even if nobody wants another try."""
    run = conversation.runs.request(TARGET)
    writer = conversation.stream(parents=run.parents, run=run.id)
    conversation.runs.update(run.id, state="streaming", output=writer.message.id)
    conversation.runs.cancel(run.id)
    async with Executor(store, [ScriptedAdapter()]) as executor:
        executor.offer(conversation)
        done = await over(conversation, run)
    assert (done.state, writer.message.status) == ("cancelled", "interrupted")


async def test_runs_of_other_adapters_are_left_alone(store: Store, conversation: Conversation) -> None:
    """A run waits until a suited executor appears."""
    adapter = ScriptedAdapter([says("x"), STOP])
    async with Executor(store, [adapter]):
        other = conversation.runs.request(Target("elsewhere"))
        await over(conversation, conversation.runs.request(TARGET))
        assert conversation.runs[other.id].state == "requested"


async def test_nothing_to_answer(store: Store) -> None:
    """An empty conversation is refused before a run is made; one that ends with a system message fails it."""
    empty, system = store.create("empty"), store.create("system")
    system.append("system", "Be kind.")
    async with Executor(store, [ScriptedAdapter()]) as executor:
        with pytest.raises(InvalidMessage):
            await anext(executor.run(empty))
        with pytest.raises(RunFailed, match="nothing to answer"):
            await anext(executor.run(system))
