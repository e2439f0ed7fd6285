"""Ollama's own API, over a real socket."""

from __future__ import annotations

import pytest

from adapters import Executor, Ollama, RunFailed
from crdt_conv import Conversation, Store, Target, new_part
from tests.providers.ollama import OllamaServer
from tests.providers.serving import Answer, Cut, Refusal, serving

pytestmark = pytest.mark.anyio


async def said(
    store: Store, conversation: Conversation, url: str, model: str = "qwen3", **params: object
) -> str:
    """Ask for an answer; returns its text."""
    async with Executor(store, adapters=[Ollama(model, base_url=url)]) as executor:
        target = Target("ollama", params=params)
        return "".join([piece async for piece in executor.run(conversation, target=target)])


async def test_thinking_goes_back_to_who_thought_it() -> None:
    """An answer streams, with its thinking before it; the same model gets that back, another does not."""
    server = OllamaServer(
        Answer("To the sea.", reasoning="Hm, water."), Answer("In June."), Answer("By train.")
    )
    with Store(":memory:") as store:
        conversation = store.create()
        conversation.append("user", "Where?")
        async with serving(server) as url:
            assert await said(store, conversation, url, max_tokens=9) == "To the sea."
            conversation.append("user", "When?")
            await said(store, conversation, url)
            conversation.append("user", "How?")
            await said(store, conversation, url, "llama4")
    answer = conversation.log().messages[1]
    assert [(part.type, part.text) for part in answer.parts] == [
        ("reasoning", "Hm, water."),
        ("text", "To the sea."),
    ]
    assert answer.usage is not None
    assert (answer.usage["input_tokens"], answer.usage["output_tokens"]) == (7, 3)
    assert server.requests[0]["options"] == {"num_predict": 9}
    assert server.requests[1]["messages"][1]["thinking"] == "Hm, water."
    assert "thinking" not in server.requests[2]["messages"][1]


async def test_calls_and_results_are_paired_by_name_and_order() -> None:
    """Calls without ids get some here; their results go back in the order of the calls, with pictures."""
    server = OllamaServer(Answer(calls=[("look", '{"n": 1}'), ("ask", '{"n": 2}')]), Answer("Done."))
    with Store(":memory:") as store:
        conversation = store.create()
        conversation.append("user", "Look.")
        async with serving(server) as url:
            await said(store, conversation, url)
            answer = conversation.log().messages[1]
            calls = [part.content["call_id"] for part in answer.parts]
            picture = conversation.attach_bytes(b"png", mime="image/png")
            results = [
                new_part("tool_result", call_id=call, content="seen", is_error=False)
                for call in reversed(calls)
            ]
            conversation.append("tool", parts=[*results, picture])
            assert await said(store, conversation, url) == "Done."
    assert (len(set(calls)), answer.stop_reason) == (2, "tool_calls")
    tools = server.requests[1]["messages"][2:]
    assert [message["tool_name"] for message in tools] == ["look", "ask"]
    assert tools[0]["images"] == ["cG5n"]


FAULTS = {
    "no such model": (Refusal(404, {"error": "model 'x' not found"}), "model 'x' not found"),
    "cut": (Cut(1, Answer("To the sea."), is_rude=False), "broke off"),
    "an error in the stream": (
        Cut(1, Answer("To"), is_rude=False, error={"error": "out of memory"}),
        "out of memory",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_what_goes_wrong_is_told(fault: tuple[Refusal | Cut, str]) -> None:
    """The run fails with the server's own words."""
    with Store(":memory:") as store:
        conversation = store.create()
        conversation.append("user", "Where?")
        async with serving(OllamaServer(*[fault[0]] * 3)) as url:
            with pytest.raises(RunFailed, match=fault[1]):
                await said(store, conversation, url)


def test_the_server_is_where_ollama_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ollama's own variable counts, also as an address to listen on."""
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:1234")
    assert Ollama("qwen3").base_url == "http://127.0.0.1:1234"
    monkeypatch.delenv("OLLAMA_HOST")
    assert Ollama("qwen3").base_url == "http://127.0.0.1:11434"
