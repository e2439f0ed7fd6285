"""The tool loop: real executor, real adapters, real sockets, strict servers, and tools that are called."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from adapters import Adapter, Anthropic, Executor, FunctionTool, Gemini, Ollama, OpenAIChat, OpenAIResponses
from adapters.exchange import Tool
from adapters.exchange.tools import tools_part
from adapters.executor.steps import unforced
from adapters.tools import AnyTool, Media
from crdt_conv import InvalidMessage, Message, Store, Target
from tests.adapters.dialogues import Dialogue, dialogue
from tests.providers.chat import ChatServer
from tests.providers.gemini import GeminiServer
from tests.providers.messages import MessagesServer
from tests.providers.ollama import OllamaServer
from tests.providers.responses import ResponsesServer
from tests.providers.serving import Answer, Provider, serving
from tests.replicas import copy_of

pytestmark = pytest.mark.anyio

PROVIDERS: dict[str, tuple[type[Provider], Callable[[str], Adapter]]] = {
    "openai-chat": (ChatServer, lambda url: OpenAIChat("m", base_url=f"{url}/v1", api_key="k")),
    "anthropic": (MessagesServer, lambda url: Anthropic("claude-opus-4-1", base_url=url, api_key="k")),
    "openai-responses": (ResponsesServer, lambda url: OpenAIResponses("m", base_url=url, api_key="k")),
    "gemini": (GeminiServer, lambda url: Gemini("gemini-3-pro", base_url=url, api_key="k")),
    "ollama": (OllamaServer, lambda url: Ollama("m", base_url=url)),
}


def weather(city: str) -> str:
    """Tell the weather."""
    return f"warm in {city}"


def calls(*calls: tuple[str, Any]) -> Answer:
    """Return an answer that calls tools."""
    return Answer("Let me look.", calls=[(name, json.dumps(arguments)) for name, arguments in calls])


@asynccontextmanager
async def talking(
    provider: str, *script: Answer, tools: list[AnyTool], max_rounds: int = 50
) -> AsyncIterator[tuple[Dialogue, Provider]]:
    """Talk with a strict server that says this."""
    kind, adapter = PROVIDERS[provider]
    server = kind(*script)
    async with serving(server) as url, dialogue([adapter(url)], tools, max_rounds) as talk:
        yield talk, server


def results(message: Message) -> list[tuple[Any, Any]]:
    """Return what the results in a message say, and whether they are errors."""
    found = [part.content for part in message.parts if part.type == "tool_result"]
    return [(content["content"], content["is_error"]) for content in found]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_calls_are_made_and_the_model_goes_on(provider: str) -> None:
    """Call, result and answer are messages of one run, on one line, and every request was taken."""
    script = calls(("weather", {"city": "Rome"})), calls(("weather", {"city": "Oslo"})), Answer("Both warm.")
    async with talking(provider, *script, tools=[weather]) as (talk, server):
        run = await talk.ask(provider, "Rome or Oslo?")
        log, heads = talk.conversation.log(), talk.conversation.heads()
    assert (run.state, run.error, len(run.claims)) == ("complete", None, 1)
    assert [message.role for message in log.messages] == ["user", *(["assistant", "tool"] * 2), "assistant"]
    assert (run.outputs, len(heads)) == (tuple(message.id for message in log.messages[1:]), 1)
    assert results(log.messages[2]) + results(log.messages[4]) == [
        ("warm in Rome", False),
        ("warm in Oslo", False),
    ]
    assert [call.state for call in run.calls] == ["done", "done"]
    assert [len(request.get("tools", ())) for request in server.requests] == [1, 1, 1]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_parallel_calls_are_made_at_once(provider: str) -> None:
    """Neither of two calls could end alone; their results stand in one message."""
    meeting = threading.Barrier(2, timeout=20)

    def meet(name: str) -> str:
        meeting.wait()
        return f"met {name}"

    script = calls(("meet", {"name": "Ann"}), ("meet", {"name": "Bob"})), Answer("Good.")
    async with talking(provider, *script, tools=[meet]) as (talk, _):
        run = await talk.ask(provider, "Meet.")
        [tool] = [message for message in talk.conversation.log().messages if message.role == "tool"]
    assert run.state == "complete"
    assert sorted(results(tool)) == [("met Ann", False), ("met Bob", False)]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_fails_is_told_to_the_model(provider: str) -> None:
    """A tool that raises, one that is not there, and arguments that don't fit: results, not the end."""

    def bad() -> None:
        raise OSError("no line")

    script = calls(("bad", {}), ("nobody", {}), ("weather", {"town": 1})), Answer("Sorry.")
    async with talking(provider, *script, tools=[bad, weather]) as (talk, _):
        run = await talk.ask(provider, "Try.")
        told = dict(results(talk.conversation.log().messages[2]))
    assert (run.state, set(told.values())) == ("complete", {True})
    assert {"OSError: no line", "there is no tool 'nobody' here"} < set(told)


async def test_a_long_result_is_cut_and_kept_whole() -> None:
    """The model gets the beginning and a note; the whole is a blob that the message refers to."""
    long = FunctionTool(lambda: "x" * 500, name="long", output_limit=100)
    async with talking("openai-chat", calls(("long", {})), tools=[long]) as (talk, server):
        await talk.ask("openai-chat", "Go.")
        tool = talk.conversation.log().messages[2]
        content = tool.parts[0].content
        assert talk.conversation.blob(content["sha256"]) == b"x" * 500
        assert tool.blobs == (content["sha256"],)
    sent = server.requests[1]["messages"][-1]["content"]
    assert sent == content["content"] == "x" * 100 + "\n[cut here: these are 100 of 500 characters]"


async def test_a_picture_goes_back_to_the_model() -> None:
    """Media stand behind their result, and are sent."""
    picture = FunctionTool(lambda: ["Look:", Media(b"\x89PNG", "image/png", "a.png")], name="shoot")
    async with talking("anthropic", calls(("shoot", {})), tools=[picture]) as (talk, server):
        await talk.ask("anthropic", "Go.")
        tool = talk.conversation.log().messages[2]
    assert [part.type for part in tool.parts] == ["tool_result", "media"]
    [result] = server.requests[1]["messages"][-1]["content"]
    assert [block["type"] for block in result["content"]] == ["text", "image"]


async def test_a_model_that_never_stops_calling_is_stopped() -> None:
    """The run ends with a reason, every call has its result, and asking again goes on behind them."""
    script = [calls(("weather", {"city": f"{n}"})) for n in range(2)]
    async with talking("openai-chat", *script, tools=[weather], max_rounds=2) as (talk, server):
        run = await talk.ask("openai-chat", "Go.")
        assert (run.state, (run.error or {})["type"], len(server.requests)) == (
            "failed",
            "too_many_rounds",
            2,
        )
        again = await talk.ask("openai-chat")
    assert (again.state, talk.reply().text) == ("complete", "ok")
    assert [message["role"] for message in server.requests[-1]["messages"]] == [
        "user",
        *(["assistant", "tool"] * 2),
    ]


async def test_tools_of_the_log_belong_to_somebody_else() -> None:
    """A run whose answer calls them ends there; calls of our own beside them have their results."""
    script = [calls(("theirs", {}), ("weather", {"city": "Rome"}))]
    async with talking("openai-chat", *script, tools=[weather]) as (talk, server):
        talk.conversation.append("system", parts=[tools_part([Tool("theirs", "x", {"type": "object"})])])
        run = await talk.ask("openai-chat", "Go.")
        assert (run.state, len(server.requests)) == ("complete", 1)
        assert results(talk.reply()) == [("warm in Rome", False)]


async def test_without_tools_a_run_ends_with_the_calls() -> None:
    """Whoever asked has the tools: nothing is made up for them."""
    async with talking("openai-chat", calls(("weather", {})), tools=[]) as (talk, server):
        run = await talk.ask("openai-chat", "Go.")
    assert (run.state, talk.reply().stop_reason, len(server.requests)) == ("complete", "tool_calls", 1)


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_cancel_ends_tools(*, is_async: bool) -> None:
    """A cancel ends what waits in the event loop, and leaves alone what blocks a thread."""
    begun, let_go = threading.Event(), threading.Event()

    async def waits() -> None:
        begun.set()
        await anyio.sleep_forever()

    def blocks() -> None:
        begun.set()
        let_go.wait(60)

    tool = FunctionTool(waits if is_async else blocks, name="slow")
    async with talking("openai-chat", calls(("slow", {})), tools=[tool]) as (talk, server):
        run = talk.request("openai-chat", "Go.")
        await anyio.to_thread.run_sync(begun.wait)
        talk.conversation.runs.cancel(run.id)
        done = await talk.over(run)
        let_go.set()
        await talk.ask("openai-chat", "And now?")
    assert done.state == "cancelled"
    assert "interrupted" in server.requests[-1]["messages"][2]["content"]


async def test_others_are_answered_while_a_tool_runs() -> None:
    """A slow tool takes no place at the adapter."""
    begun, let_go = anyio.Event(), anyio.Event()

    async def slow() -> str:
        begun.set()
        await let_go.wait()
        return "done"

    server = ChatServer(calls(("slow", {})))
    async with serving(server) as url:
        adapter = OpenAIChat("m", base_url=f"{url}/v1", api_key="k", at_once=1)
        async with dialogue([adapter], [slow]) as talk:
            run = talk.request("openai-chat", "Go.")
            await begun.wait()
            talk.conversation.append("user", "Beside?", branch="side", parents=[])
            assert (await talk.ask("openai-chat", branch="side")).state == "complete"
            let_go.set()
            assert (await talk.over(run)).state == "complete"


async def test_who_lost_the_lease_writes_no_result() -> None:
    """A tool that ends after its run went to somebody else: the next owner says what is known."""
    begun, let_go = anyio.Event(), anyio.Event()

    async def slow() -> str:
        begun.set()
        await let_go.wait()
        return "late"

    async with talking("openai-chat", calls(("slow", {})), tools=[slow]) as (talk, _):
        run = talk.request("openai-chat", "Go.")
        await begun.wait()
        engine = talk.store.engine
        assert engine.acquire_lease(f"run:{run.id}", "another", at_ms=2**52, until_ms=2**53) == 2
        let_go.set()
        await anyio.wait_all_tasks_blocked()
    now = talk.conversation.runs[run.id]
    assert ([call.state for call in now.calls], now.state, len(now.outputs)) == (["begun"], "streaming", 1)


# Approvals


def delete(path: str) -> str:
    """Delete a file."""
    return f"{path} is gone"


DELETE = FunctionTool(delete, needs_approval=True)


@pytest.mark.parametrize(
    ("approved", "expected"),
    [
        (True, ("a is gone", False)),
        (False, ("a person has not approved this call: it was not made", True)),
    ],
)
async def test_a_person_is_asked(*, approved: bool, expected: tuple[str, bool]) -> None:
    """The call waits in the document, other calls don't, and the answer to it is carried out."""
    script = calls(("delete", {"path": "a"}), ("weather", {"city": "Rome"})), Answer("Done.")
    async with talking("openai-chat", *script, tools=[DELETE, weather]) as (talk, server):
        run = talk.request("openai-chat", "Delete a.")
        waiting = await talk.pending(run)
        await anyio.wait_all_tasks_blocked()
        assert results(talk.reply()) == [("warm in Rome", False)]
        assert (len(server.requests), waiting.pending[0].approved) == (1, None)
        talk.conversation.runs.approve(run.id, "call_1_0", approved=approved)
        done = await talk.over(run)
        tool = talk.conversation.log().messages[2]
    assert (done.state, done.pending, tool.status) == ("complete", (), "complete")
    assert results(tool) == [("warm in Rome", False), expected]


async def test_another_device_answers() -> None:
    """What a phone writes in its own replica reaches the executor with the next update."""
    script = calls(("delete", {"path": "a"})), Answer("Done.")
    async with talking("openai-chat", *script, tools=[DELETE]) as (talk, _):
        run = talk.request("openai-chat", "Delete a.")
        await talk.pending(run)
        phone = copy_of(talk.conversation)
        phone.runs.approve(run.id, "call_1_0")
        talk.conversation.receive(phone.encode(talk.conversation.state_vector))
        assert (await talk.over(run)).state == "complete"
        assert results(talk.conversation.log().messages[2]) == [("a is gone", False)]


async def test_only_what_waits_can_be_approved() -> None:
    """A call that nobody asks about is no call to approve, and no decision is made twice."""
    async with talking("openai-chat", calls(("delete", {"path": "a"})), tools=[DELETE]) as (talk, _):
        run = talk.request("openai-chat", "Delete a.")
        [call] = (await talk.pending(run)).pending
        with pytest.raises(InvalidMessage, match="waits for approval"):
            talk.conversation.runs.approve(run.id, "call_9")
        talk.conversation.runs.approve(run.id, call.key)
        with pytest.raises(InvalidMessage, match="waits for approval"):
            talk.conversation.runs.approve(run.id, call.key, approved=False)
        assert (await talk.over(run)).state == "complete"


async def test_a_run_that_waits_can_be_cancelled() -> None:
    """Nobody has to answer first; the call is not made."""
    async with talking("openai-chat", calls(("delete", {"path": "a"})), tools=[DELETE]) as (talk, _):
        run = talk.request("openai-chat", "Delete a.")
        await talk.pending(run)
        talk.conversation.runs.cancel(run.id)
        done = await talk.over(run)
    assert (done.state, done.pending, results(talk.reply())) == ("cancelled", (), [])


async def test_approval_waits_across_executors() -> None:
    """Any number of executors may come and go meanwhile; an answer given while none was there counts."""
    server = ChatServer(calls(("delete", {"path": "a"})), Answer("Done."))
    async with serving(server) as url:
        adapter = OpenAIChat("m", base_url=f"{url}/v1", api_key="k")
        with Store(":memory:") as store:
            talk = Dialogue(store)
            async with Executor(store, [adapter], tools=[DELETE]):
                run = talk.request("openai-chat", "Delete a.")
                [call] = (await talk.pending(run)).pending
            for _ in range(5):
                async with Executor(store, [adapter], tools=[DELETE]) as executor:
                    executor.offer(talk.conversation)
                    await anyio.wait_all_tasks_blocked()
            talk.conversation.runs.approve(run.id, call.key)
            async with Executor(store, [adapter], tools=[DELETE]) as executor:
                executor.offer(talk.conversation)
                done = await talk.over(run)
    assert (done.state, len(server.requests), len(done.claims)) == ("complete", 2, 2)
    assert talk.conversation.log().messages[-1].text == "Done."


FORCED: dict[str, dict[str, Any]] = {
    "openai-chat": {"tool_choice": "required"},
    "anthropic": {"tool_choice": {"type": "any"}},
    "openai-responses": {"tool_choice": {"type": "function", "name": "weather"}},
    "gemini": {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
}


@pytest.mark.parametrize("provider", FORCED)
async def test_a_call_is_forced_once(provider: str) -> None:
    """What follows the results is the model's to choose: else the run would go on until somebody ends it."""
    script = calls(("weather", {"city": "Rome"})), Answer("Warm.")
    async with talking(provider, *script, tools=[weather]) as (talk, server):
        run = await talk.ask(provider, "Rome?", **FORCED[provider])
    [key] = FORCED[provider]
    assert (run.state, [key in request for request in server.requests]) == ("complete", [True, False])
    assert "tool_choice" in [note["about"] for note in (run.sent or {})["repairs"]]


@pytest.mark.parametrize("choice", ["auto", "none", {"type": "auto"}])
def test_a_choice_that_forces_nothing_stays(choice: Any) -> None:
    """It is sent with every request."""
    target = Target("x", params={"tool_choice": choice, "toolConfig": {"functionCallingConfig": {}}})
    assert unforced(target) == target
