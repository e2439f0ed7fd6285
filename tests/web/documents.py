"""What stands in conversations before a test, and what came of them: another device, in Python."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import httpx

from crdt_conv import Conversation, Store
from syncd.client import SyncClient
from tests.e2e.programs import TOKEN

T = TypeVar("T")
KEY = {"Authorization": f"Bearer {TOKEN}"}
LONG = {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 400}
"""A form that an answer can't take in less than some 2,000 tokens: whoever looks sees it in its middle."""


def in_a_thread(main: Callable[[], Awaitable[T]]) -> T:
    """Run what needs an event loop: the main thread's is the browser's."""
    came: list[T] = []
    failed: list[BaseException] = []

    async def run() -> None:
        came.append(await main())

    def begin() -> None:
        try:
            anyio.run(run)
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            failed.append(error)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return came[0]


def written(url: str, title: str, write: Callable[[Conversation], object] = lambda _: None) -> str:
    """Write a conversation on another device, and bring it to the daemon; returns its id."""
    with Store(":memory:", name="ann") as store:
        conversation = store.create(title)
        write(conversation)
        synced(url, conversation)
    return conversation.id


def changed(url: str, conversation_id: str, change: Callable[[Conversation], T]) -> T:
    """Change a conversation on another device that has all of it; returns what ``change`` does."""
    with Store(":memory:", name="ben") as store:
        conversation = store.join(conversation_id)
        synced(url, conversation)
        result = change(conversation)
        synced(url, conversation)
    return result


def synced(url: str, conversation: Conversation) -> None:
    """Bring a conversation in sync with the daemon."""

    async def exchange() -> None:
        async with SyncClient(url, token=TOKEN) as client:
            await client.sync(conversation, timeout_s=60)

    in_a_thread(exchange)


def target(conversation: Conversation, adapter: str, model: str | None = None, **params: Any) -> None:
    """Have runs of a conversation go to a model, unless they say otherwise."""
    with conversation.writing() as document:
        document.put(
            "meta", "target", {"adapter": adapter, "model": model, "endpoint": None, "params": params}
        )


def log(url: str, conversation_id: str, branch: str = "main") -> Any:
    """Return what the daemon has of a branch, as ``conv show --json`` prints it."""
    answer = httpx.get(
        f"{url}/api/conversations/{conversation_id}", params={"branch": branch}, headers=KEY, timeout=30
    )
    answer.raise_for_status()
    return answer.json()


def texts(url: str, conversation_id: str, branch: str = "main") -> list[str]:
    """Return what its messages say."""
    return [message["text"] for message in log(url, conversation_id, branch)["messages"]]
