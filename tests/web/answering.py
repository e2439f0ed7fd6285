"""An executor that is a device: a store of its own, a strict provider, and a tool that asks first."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from adapters import Executor, FunctionTool, OpenAIChat
from crdt_conv import Store
from syncd.client import SyncClient
from tests.e2e.programs import TOKEN
from tests.providers.chat import ChatServer
from tests.providers.serving import Answer, serving

ADAPTER = "openai-chat"
MODEL = "m"


class Posting:
    """What the tool did."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send_postcard(self, to: str) -> str:
        """Send a postcard to somebody."""
        self.sent.append(to)
        return f"sent to {to}"


@contextmanager
def executor(url: str, conversation_id: str, to: str) -> Iterator[Posting]:
    """
    Answer the runs of one conversation from elsewhere: first by a call, then by what its result was.

    Args:
        url: The daemon's.
        conversation_id: Whose runs.
        to: To whom the model sends a postcard.
    """
    posting, begun, over = Posting(), threading.Event(), threading.Event()

    async def answer() -> None:
        call = Answer("A card, then.", calls=[("send_postcard", json.dumps({"to": to}))])
        tool = FunctionTool(posting.send_postcard, needs_approval=True)
        with Store(":memory:", name="executor") as store:
            async with (
                serving(ChatServer(call, Answer("That was that."))) as provider,
                SyncClient(url, token=TOKEN) as client,
                Executor(
                    store, [OpenAIChat(MODEL, base_url=f"{provider}/v1", api_key="k")], tools=[tool]
                ) as runs,
            ):
                conversation = store.join(conversation_id)
                await client.sync(conversation, timeout_s=60)
                runs.offer(conversation)
                begun.set()
                while not over.is_set():  # noqa: ASYNC110 - set in another thread
                    await anyio.sleep(0.02)

    thread = threading.Thread(target=anyio.run, args=(answer,))
    thread.start()
    try:
        assert begun.wait(60)
        yield posting
    finally:
        over.set()
        thread.join()
