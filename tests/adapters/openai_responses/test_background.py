"""Answers that the provider makes in the background: fetched by whoever is there, paid for once."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import pytest

from adapters import Executor, OpenAIResponses
from adapters.exchange import Hidden
from adapters.openai_responses import background
from adapters.openai_responses.background import id_of
from adapters.spaces import Place
from crdt_conv import Run, Store, Target
from tests.adapters.dialogues import Dialogue, dialogue
from tests.providers.responses import ResponsesServer
from tests.providers.serving import Answer, Cut, Refusal, serving

pytestmark = pytest.mark.anyio

LONG = Answer("All roads lead to Rome, and some lead back.", "hm", [("look", "{}")])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_DELAY_S", 0.001)


def adapter_of(url: str) -> OpenAIResponses:
    """Return an adapter whose server holds answers."""
    made = OpenAIResponses("m", base_url=url, api_key="k")
    made._place = Place("openai", "openai", made.base_url, "m", "a")
    return made


@pytest.mark.parametrize("after", range(1, 22, 3))
async def test_a_connection_that_breaks_is_opened_again(after: int) -> None:
    """Wherever it breaks, the answer goes on behind the last event, in one message; nothing is made twice."""
    server = ResponsesServer(Cut(after, LONG))
    async with serving(server) as url, dialogue([adapter_of(url)]) as talk:
        run = await talk.ask("openai-responses", "Where?", background=True)
        reply, fields = talk.reply(), talk.conversation.hidden(talk.reply().id)
    assert (run.error, run.state, reply.text, server.count) == (None, "complete", LONG.text, 1)
    assert server.fetched == [("resp_1", after - 1)]
    assert [part.type for part in reply.parts] == ["reasoning", "text", "tool_call"]
    assert any(field.data == "resp_1" for field in fields)


async def test_whoever_takes_over_fetches_the_answer() -> None:
    """The dead owner's call is not made again: its answer stands beside what had come of it."""
    server = ResponsesServer(Cut(6, Answer("All roads lead to Rome.")))
    async with serving(server) as url:
        with Store(":memory:") as store:
            talk = Dialogue(store)
            run = await left_in_its_middle(talk, adapter_of(url))
            async with Executor(store, [adapter_of(url)]) as executor:
                executor.offer(talk.conversation)
                done = await talk.over(run)
            log = talk.conversation.log().messages
            statuses = [talk.conversation.message(output).status for output in done.outputs]
    assert (done.state, done.error, [message.text for message in log]) == (
        "complete",
        None,
        ["Where?", "All roads lead to Rome."],
    )
    assert (server.count, server.fetched[-1], statuses) == (1, ("resp_1", None), ["interrupted", "complete"])


async def test_one_that_is_gone_is_asked_for_anew() -> None:
    """The provider keeps it for some minutes."""
    server = ResponsesServer(Cut(6, Answer("All roads.")), Answer("Rome."))
    async with serving(server) as url:
        with Store(":memory:") as store:
            talk = Dialogue(store)
            run = await left_in_its_middle(talk, adapter_of(url))
            server.background.clear()
            async with Executor(store, [adapter_of(url)]) as executor:
                executor.offer(talk.conversation)
                done = await talk.over(run)
            text = talk.reply().text
    assert (done.state, done.error, text, server.count) == ("complete", None, "Rome.", 2)


async def left_in_its_middle(talk: Dialogue, adapter: OpenAIResponses) -> Run:
    """Have an answer begun by somebody who died in its middle, so that the record is all that is left."""
    conversation = talk.conversation
    conversation.append("user", "Where?")
    run = conversation.runs.request(Target("openai-responses", params={"background": True}))
    hidden = Hidden.of(conversation, now_ms=0)
    request, report = adapter.materialize([*conversation.log().messages], run.target, (), hidden)
    async with aclosing(adapter.stream(request)) as events:
        named = await anext(events)
    sent = {**report.as_json(), "request": request.digest, "reused": {background.BACKGROUND: id_of(named)}}
    conversation.runs.claim(run.id, "the dead", 1)
    conversation.runs.update(run.id, sent=sent)
    writer = conversation.stream(parents=run.parents, run=run.id)
    writer.write("All")
    return conversation.runs.update(run.id, state="streaming", output=writer.message_id, epoch=1)


async def test_nobody_pays_for_what_is_cancelled() -> None:
    """The provider is told to end it: closing the connection would not."""
    server = ResponsesServer(Answer("x" * 30_000))
    async with serving(server) as url, dialogue([adapter_of(url)]) as talk:
        talk.conversation.append("user", "Where?")
        run = talk.conversation.runs.request(Target("openai-responses", params={"background": True}))
        with anyio.fail_after(20):
            while not talk.conversation.runs[run.id].outputs:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.001)
        talk.conversation.runs.cancel(run.id)
        done = await talk.over(run)
        with anyio.fail_after(20):
            while not server.cancelled:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.001)
    assert (done.state, server.cancelled) == ("cancelled", ["resp_1"])


async def test_an_answer_that_never_comes_is_given_up() -> None:
    """Some stay queued for ever: the stream is opened again so often, and no more."""
    server = ResponsesServer(Cut(1, Answer("x")))
    async with serving(server) as url, dialogue([adapter_of(url)]) as talk:
        server.background = _Nothing()
        run = await talk.ask("openai-responses", "Where?", background=True)
    assert (run.state, (run.error or {}).get("type")) == ("failed", "stream_broken")
    assert len(server.fetched) <= 3 * (background.MAX_REOPENED + 1) + 3


class _Nothing(dict[str, list[dict[str, object]]]):
    """Answers of which nothing more comes."""

    def __getitem__(self, key: str) -> list[dict[str, object]]:
        return []

    def __contains__(self, key: object) -> bool:
        return True


async def test_without_it_a_connection_that_breaks_is_the_end() -> None:
    """Nothing is fetched that the provider does not go on with."""
    server = ResponsesServer(Cut(8, LONG), Refusal(400, {"error": {"message": "no"}}))
    async with serving(server) as url, dialogue([adapter_of(url)]) as talk:
        run = await talk.ask("openai-responses", "Where?")
    assert (run.state, server.fetched) == ("failed", [])
