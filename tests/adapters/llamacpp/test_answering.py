"""What a call leaves in its slot, with a server that says what a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, cast

import anyio
import pytest

from adapters.exchange import Hidden
from adapters.llamacpp.answering import answer
from adapters.llamacpp.client import LlamaClient
from adapters.llamacpp.live import Live
from adapters.llamacpp.materialize import materialize
from adapters.llamacpp.prompt import Renderer
from adapters.llamacpp.slots import Slots
from crdt_conv import Conversation, Store, Target
from tests.adapters.llamacpp.tiny import TinyServer, tokenized

pytestmark = pytest.mark.anyio

END = {"content": "", "stop": True, "stop_type": "eos", "timings": {"cache_n": 0}}


class Talking(TinyServer):
    """A tiny server that answers, or computes a prompt for ever."""

    def __init__(self, *events: Mapping[str, Any]) -> None:
        super().__init__()
        self.events = events
        self.is_asked = anyio.Event()

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        self.is_asked.set()
        for event in self.events:
            yield dict(event)
        if not self.events or not self.events[-1].get("stop"):
            await anyio.sleep_forever()


def live(server: Talking, *, context_tokens: int = 500) -> Live:
    """Return a server as an adapter knows it."""
    slots = Slots(1)
    client = cast("LlamaClient", server)
    return Live(
        client,
        Renderer(server),
        "tiny",
        "tiny",
        context_tokens,
        is_native=False,
        has_reasoning=False,
        slots=slots,
    )


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    """Return a conversation with a question."""
    with Store(":memory:") as store:
        asked = store.create()
        asked.append("user", "hi")
        yield asked


def body(conversation: Conversation, **params: Any) -> Mapping[str, Any]:
    """Return the request's body."""
    heads = [head.id for head in conversation.heads()]
    hidden = Hidden.of(conversation, now_ms=0)
    request, _ = materialize(conversation.lin(*heads), Target("llamacpp", params=params), (), hidden)
    return request.body or {}


async def common(asked: Live, wanted: Mapping[str, Any]) -> int:
    """Return how many tokens the slot is taken to hold of a prompt."""
    async for event in answer(asked, wanted):
        if "prompt" in event:
            return int(event["prompt"]["reused"]["kv_tokens"])
    raise AssertionError


async def test_a_whole_answer_leaves_prompt_and_answer(conversation: Conversation) -> None:
    """The next request finds all of both."""
    asked = live(Talking({"content": "ab", "tokens": tokenized("ab")}, END))
    wanted = body(conversation)
    async for _ in answer(asked, wanted):
        pass
    assert asked.slots is not None
    prompt = tokenized("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert asked.slots._slots[0].tokens == (*prompt, *tokenized("ab"))


async def test_an_answer_that_is_cut_off_leaves_all_but_its_last_token(conversation: Conversation) -> None:
    """A token is computed when the next one is asked for."""
    asked = live(Talking({"content": "ab", "tokens": [7, 8]}))
    events = answer(asked, body(conversation))
    await anext(events)
    await anext(events)
    await events.aclose()
    assert asked.slots is not None
    assert asked.slots._slots[0].tokens[-1] == 7


async def test_a_prompt_that_is_cut_off_leaves_nothing_that_counts(conversation: Conversation) -> None:
    """How far it was computed is not known: nothing is saved that might not be there."""
    server = Talking()
    asked = live(server)

    async def read() -> None:
        async for _ in answer(asked, body(conversation)):
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await server.is_asked.wait()
        tasks.cancel_scope.cancel()
    assert asked.slots is not None
    assert asked.slots._slots[0].tokens == ()
    assert not asked.slots._slots[0].is_busy
    assert await common(live(Talking(END)), body(conversation)) == 0
