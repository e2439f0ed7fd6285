"""
``python -m bench.llama``: what the executor adds to llama.cpp, and what checkpoints take away.

Time to the first token of a conversation of 4,000 tokens, after a restart and on another branch, with
and without checkpoints, and by llama.cpp's own ``/v1/chat/completions`` alone; then tokens a second
through the executor, to a store on disk, and alone. By turns, so that whatever else runs on the machine
meets all of them alike. The model is loaded, and in memory, before the clock starts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from adapters import Executor, LlamaCpp, find_model
from adapters.llamacpp import LlamaServer
from adapters.llamacpp.client import LlamaClient
from bench import conversations
from crdt_conv import Conversation, Store, Target

CONTEXT = 6_144
THREADS = 1
WORDS_A_MESSAGE = 32
TOKENS_A_MESSAGE = 95
OURS, ALONE = "through the executor", "llama.cpp alone"
ONE = {"max_tokens": 1, "temperature": 0}


class Bench:
    """A store with one long conversation, and how to ask about it."""

    def __init__(self, folder: Path, tokens: int) -> None:
        self.folder = folder
        self.tokens = tokens
        self.store = Store(folder / "bench.db", name="bench")
        self.conversation = self.store.create("long")

    def llama(self, *, keeps: bool) -> LlamaCpp:
        """Return an adapter with checkpoints, or without."""
        return LlamaCpp(
            context_tokens=CONTEXT,
            threads=THREADS,
            checkpoints=self.folder / "checkpoints",
            checkpoint_bytes=2**32 if keeps else 0,
        )

    @asynccontextmanager
    async def running(self, *, keeps: bool) -> AsyncIterator[None]:
        """Run an executor whose model is loaded."""
        async with Executor(self.store, [self.llama(keeps=keeps)]) as executor:
            warm = self.store.create("warm")
            warm.append("user", "Hi")
            async for _ in executor.run(warm, target=Target("llamacpp", params=ONE)):
                pass
            self.executor = executor
            yield

    async def first_token_s(self, conversation: Conversation, branch: str = "main") -> float:
        """Return how long the first token takes, from the request to the document."""
        began_s = time.perf_counter()
        target = Target("llamacpp", params={"max_tokens": 1, "temperature": 0})
        async with aclosing(self.executor.run(conversation, branch, target)) as pieces:
            await anext(pieces)
            took_s = time.perf_counter() - began_s
            async for _ in pieces:
                pass
        return took_s

    async def tokens_a_second(self, count: int) -> tuple[float, float]:
        """Return an answer's speed, from first to last piece in the document, and this process' CPU."""
        began_s = time.process_time()
        conversation = self.store.create("speed")
        conversation.append("user", "Tell me a long story about a fox and a dog.")
        target = Target("llamacpp", params={"max_tokens": count, "temperature": 1, "seed": 7})
        first_s, last_s = 0.0, 0.0
        async for _ in self.executor.run(conversation, target=target):
            last_s = time.perf_counter()
            first_s = first_s or last_s
        tokens = int((conversation.log().messages[-1].usage or {})["output_tokens"])
        return (tokens - 1) / (last_s - first_s), (time.process_time() - began_s) * 1000 / tokens

    def fill(self) -> None:
        """Write the conversation: short turns, about as many tokens as wanted."""
        count = round(self.tokens / TOKENS_A_MESSAGE) // 2 * 2 + 1
        for message in conversations.messages(count):
            self.conversation.append(message.role, " ".join(message.text.split()[:WORDS_A_MESSAGE]))

    def ask_on(self) -> None:
        """Let the conversation go on by a question."""
        self.conversation.append("user", "And what do you say to that?")


class Alone:
    """llama.cpp by itself, as any chat client uses it: messages to ``/v1/chat/completions``."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run a server whose model is loaded."""
        async with LlamaServer(find_model(), context_tokens=CONTEXT, threads=THREADS) as server:
            self.client = LlamaClient(await server.url(), server.api_key)
            await self.stream([{"role": "user", "content": "Hi"}], max_tokens=1)
            yield
            await self.client.aclose()

    async def stream(self, messages: list[dict[str, str]], **params: Any) -> list[float]:
        """Return when each piece of text came, in seconds after the request."""
        body = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}, **params}
        began_s, came = time.perf_counter(), list[float]()
        self.count = 0
        async with aclosing(self.client.stream("/v1/chat/completions", body)) as events:
            async for event in events:
                # One that is the end at once has no text.
                if any(
                    choice["delta"].get("content") or choice["finish_reason"] for choice in event["choices"]
                ):
                    came.append(time.perf_counter() - began_s)
                self.count = (event.get("usage") or {}).get("completion_tokens", self.count)
        return came

    async def first_token_s(self, conversation: Conversation, branch: str = "main") -> float:
        """Return how long the first token of a conversation takes that this server has never seen."""
        messages = [
            {"role": message.role, "content": message.text} for message in conversation.log(branch).messages
        ]
        return (await self.stream(messages, max_tokens=1, temperature=0))[0]

    async def tokens_a_second(self, count: int) -> tuple[float, float]:
        """Return an answer's speed, from first to last piece, and this process' CPU, ms a token."""
        began_s = time.process_time()
        question = [{"role": "user", "content": "Tell me a long story about a fox and a dog."}]
        came = await self.stream(question, max_tokens=count, temperature=1, seed=7)
        speed = (self.count - 1) / (came[-1] - came[0])
        return speed, (time.process_time() - began_s) * 1000 / self.count


async def measure_first(bench: Bench, rounds: int) -> dict[str, list[float]]:
    """Return the times of every way to the first token, round by round."""
    found: dict[str, list[float]] = {}

    async def note(name: str, taking: Coroutine[Any, Any, float]) -> None:
        found.setdefault(name, []).append(await taking)
        print(f"  {name}: {found[name][-1]:.2f} s", flush=True)

    # What a person has done before: asked once, and left. The end of the program saves.
    async with bench.running(keeps=True):
        await note("with checkpoints, for the first time", bench.first_token_s(bench.conversation))
    questions = [message.id for message in bench.conversation.log().messages if message.role == "user"]
    for number in range(rounds):
        bench.ask_on()
        fork = f"fork-{number}"
        bench.conversation.edit(questions[-2], f"Let us try another way, the {number}th.", branch=fork)
        for keeps, name in ((True, "with checkpoints"), (False, "without")):
            async with bench.running(keeps=keeps):
                await note(f"after a restart, {name}", bench.first_token_s(bench.conversation))
            async with bench.running(keeps=keeps):
                await note(f"on another branch, {name}", bench.first_token_s(bench.conversation, fork))
        alone = Alone()
        async with alone.running():
            await note("after a restart, llama.cpp alone", alone.first_token_s(bench.conversation))
        async with alone.running():
            await note(
                "on another branch, llama.cpp alone",
                alone.first_token_s(bench.conversation, fork),
            )
    return found


async def measure_speed(
    bench: Bench, rounds: int, count: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return tokens a second and this process' CPU a token, through the executor and alone, by turns."""
    speed: dict[str, list[float]] = {OURS: [], ALONE: []}
    cpu: dict[str, list[float]] = {OURS: [], ALONE: []}
    alone = Alone()
    async with bench.running(keeps=True), alone.running():
        for _ in range(rounds):
            for name, run in ((OURS, bench.tokens_a_second), (ALONE, alone.tokens_a_second)):
                tokens, ms = await run(count)
                speed[name].append(tokens)
                cpu[name].append(ms)
            print(f"  {speed[OURS][-1]:.1f}, {speed[ALONE][-1]:.1f} tokens/s", flush=True)
    return speed, cpu


def print_table(title: str, found: dict[str, list[float]], unit: str) -> None:
    """Print medians and extremes."""
    print(f"\n| {title} | median, {unit} | least | most |\n| --- | --- | --- | --- |")
    for name, values in found.items():
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")


async def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speed-rounds", type=int, default=9)
    parser.add_argument("--speed-tokens", type=int, default=150)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.tokens)
        bench.fill()
        if args.rounds:
            first = await measure_first(bench, args.rounds)
            sent = bench.conversation.runs.all()[-1].sent or {}
            print_table(f"first token, {sent['reused']['prompt_tokens']:,} tokens", first, "s")
        if args.speed_rounds:
            speed, cpu = await measure_speed(bench, args.speed_rounds, args.speed_tokens)
            print_table(f"an answer of {args.speed_tokens} tokens", speed, "tokens/s")
            print_table("CPU of who reads it", cpu, "ms a token")
            pairs = list(zip(*speed.values(), strict=True))
            overhead = 1 - statistics.median(ours / alone for ours, alone in pairs)
            print(f"\noverhead, median of pairs: {100 * overhead:.1f} %")
        bench.store.close()


if __name__ == "__main__":
    anyio.run(main)
