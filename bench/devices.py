"""
``python -m bench.devices``: what a long conversation costs on the wire, and how late a token is elsewhere.

A device asks 200 questions through a real daemon on loopback; an executor in it answers with the Responses
API of a strict local server. Counted are the frames that the device sends and gets, and the bodies that the
executor sends to the provider; beside them what a client would send that resends its history with each turn
(a Chat Completions body for the same log). Then a provider says a word each 20 ms, with the time in it, and a
second device looks how old the newest word is when it can read it. All of it in one process, so that one
clock counts; what the processes of a real set-up would do at once, it does in turns.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from adapters import Executor, OpenAIChat, OpenAIResponses
from adapters.answers import wait_until_over
from adapters.exchange import Adapter, Hidden, encode_json
from adapters.spaces import Place
from bench import conversations
from crdt_conv import Change, Conversation, Store, Target
from syncd.app import create_app
from syncd.auth import TokenGate
from syncd.client import SyncClient
from syncd.daemon import url_of
from syncd.hub import Hub
from syncd.leases import HubGrants
from syncd.server import Server
from tests.providers.responses import ResponsesServer
from tests.providers.serving import Answer, Provider
from tests.providers.serving import serving as providing

QUESTION_CHARACTERS = 200
"""An answer has 400."""
TOKEN = "bench"
EVERY_S = 0.02


class CountedClient(SyncClient):
    """A device's client that counts what goes over its socket."""

    sent = received = 0

    def _send(self, frame: bytes) -> None:
        self.sent += len(frame)
        super()._send(frame)

    def _receive(self, data: str | bytes) -> None:
        self.received += len(data)
        super()._receive(data)


Device = tuple[CountedClient, Conversation]


class Ticking(ResponsesServer):
    """Says a word each 20 ms: the time at which it does."""

    async def _stream(self, body: dict[str, Any], said: Any) -> AsyncIterator[bytes]:
        for event in self.events(body, Answer("xxx" * int(said.text))):
            if str(event["type"]).endswith("output_text.delta"):
                await anyio.sleep(EVERY_S)
                event["delta"] = f"{time.perf_counter():.6f} "
            yield self.frame(event)


@asynccontextmanager
async def daemon(folder: Path, adapter: Adapter) -> AsyncIterator[str]:
    """Run a daemon with an executor; yields its URL."""
    with Store(folder / "daemon.db") as store, socket.create_server(("127.0.0.1", 0)) as listener:
        hub = Hub(store, TokenGate(TOKEN))
        async with (
            hub.running(),
            Server(create_app(hub), hub.limits).serving(listener),
            Executor(store, [adapter], grants=HubGrants(hub)),
        ):
            yield url_of(listener)


class Held(OpenAIResponses):
    """An adapter that takes a local server for one that holds answers, as OpenAI's does."""

    def place(self, target: Target) -> Place:
        """Return where a request goes."""
        return Place("openai", "openai", self.base_url, target.model or self.model, "a")


def resent(conversation: Conversation) -> int:
    """Return the bytes of a Chat Completions body for what the last answer answered."""
    chat, hidden = OpenAIChat("m", api_key="k"), Hidden.of(conversation, now_ms=0)
    log = conversation.lin(*conversation.log().messages[-1].parents)
    return len(chat.materialize(log, Target("openai-chat"), (), hidden)[0].content)


@asynccontextmanager
async def devices(provider: Provider, folder: Path, count: int) -> AsyncIterator[list[Device]]:
    """Run everything, with so many devices in sync."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(providing(provider))
        address = await stack.enter_async_context(daemon(folder, Held("m", base_url=url, api_key="k")))
        found: list[Device] = []
        for number in range(count):
            store = stack.enter_context(Store(folder / f"device{number}.db"))
            client = CountedClient(address, token=TOKEN)
            await stack.enter_async_context(client)
            conversation = store.join("bench")
            await client.sync(conversation)
            found.append((client, conversation))
        yield found


async def ask(conversation: Conversation, text: str) -> None:
    """Ask, and wait for the answer."""
    conversation.append("user", text)
    await wait_until_over(conversation, conversation.runs.request(Target("openai-responses")).id)


async def count_bytes(turns: int) -> None:
    """Print what a conversation costs."""
    said = conversations.messages(2 * turns)
    provider, plain = ResponsesServer(*(Answer(message.text) for message in said[1::2])), 0
    print("| turns | a device sends | and gets | the executor sends | resending history |")
    print("| --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as folder:
        async with devices(provider, Path(folder), 1) as [(client, conversation)]:
            for turn in range(1, turns + 1):
                await ask(conversation, said[2 * turn - 2].text[:QUESTION_CHARACTERS])
                plain += resent(conversation)
                if turn in (1, 10, 50, 100, turns):
                    sent = sum(len(encode_json(body)) for body in provider.requests)
                    cells = (turn, client.sent, client.received, sent, plain)
                    print("| " + " | ".join(f"{cell:,}" for cell in cells) + " |", flush=True)


async def measure_latency(words: int, rounds: int) -> None:
    """Print how late a second device can read what a provider says."""
    late_ms: list[float] = []
    provider = Ticking(*(Answer(str(words)) for _ in range(rounds)))
    with TemporaryDirectory() as folder:
        async with devices(provider, Path(folder), 2) as [(_, asking), (_, looking)]:
            seen: dict[str, int] = {}

            def look(change: Change) -> None:
                now_s = time.perf_counter()
                for message_id in change.messages:
                    said = looking.message(message_id).text.split() if message_id in looking else []
                    new = said[seen.get(message_id, 0) :]
                    late_ms.extend(1000 * (now_s - float(word)) for word in new if "." in word)
                    seen[message_id] = len(said)

            looking.subscribe(look)
            for _ in range(rounds):
                await ask(asking, "Tick")
    cuts = statistics.quantiles(late_ms, n=100)
    print("\n| from provider to another device, ms | median | p90 | p99 | most | words |")
    print("| --- | --- | --- | --- | --- | --- |")
    shown = (cuts[49], cuts[89], cuts[98], max(late_ms))
    print("| through the daemon | " + " | ".join(f"{ms:.1f}" for ms in shown) + f" | {len(late_ms)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.devices", description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}\n")
    anyio.run(count_bytes, chosen.turns)
    anyio.run(measure_latency, chosen.words, chosen.rounds)
    print(f"\nload {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
