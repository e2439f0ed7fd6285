"""
``python -m bench.requests``: what it costs to make a request of a long log, cold and after one more message.

A log of 10,000 messages, every tenth with a hidden field of 4 kB, is in memory; each adapter makes a request
of it for the first time, and then of the log with a question and an answer more. CPU of this thread, since
other work on the machine is none of ours; the body's bytes are not made, which any client has to.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from adapters import Anthropic, Gemini, LlamaCpp, Ollama, OpenAIChat, OpenAIResponses
from adapters.exchange import Adapter, Hidden
from bench import conversations
from crdt_conv import Conversation, HiddenField, Message, Store, Target

ADAPTERS: Final[Mapping[str, tuple[Callable[[], Adapter], str, str]]] = {
    "anthropic": (lambda: Anthropic("claude-sonnet-5", api_key="k"), "thinking", "anthropic"),
    "gemini": (lambda: Gemini("gemini-3-pro", api_key="k"), "thought_signature", "gemini-api"),
    "llamacpp": (lambda: LlamaCpp(url="http://127.0.0.1:1"), "tokens", "none"),
    "ollama": (lambda: Ollama("m"), "thinking", "none"),
    "openai-chat": (
        lambda: OpenAIChat("m", base_url="https://api.deepseek.com", api_key="k"),
        "reasoning",
        "none",
    ),
    "openai-responses": (lambda: OpenAIResponses("gpt-5.6", api_key="k"), "reasoning", "openai"),
}
"""How each is made, and what its answers hide: the kind and the key space."""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.requests", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    print("| adapter | cold, ms | after one more, ms | most of these, ms |\n| --- | --- | --- | --- |")
    for name in ADAPTERS:
        cold, more = measure(name, chosen.messages, chosen.rounds)
        shown = f"{min(cold):.0f} to {max(cold):.0f} | {statistics.median(more):.2f} | {max(more):.2f}"
        print(f"| `{name}` | {shown} |")


def measure(name: str, count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return what requests cost, cold and after one more message, in milliseconds of CPU."""
    make, kind, space = ADAPTERS[name]
    cold: list[float] = []
    more: list[float] = []
    with Store(":memory:") as store:
        conversation = store.create()
        for message in conversations.messages(count):
            sealed = [_field(name, kind, space, message.hidden)] if message.hidden is not None else []
            conversation.append(message.role, message.text, hidden=sealed)
        conversation.append("user", "And then?")
        log = list(conversation.log().messages)
        for _ in range(rounds):
            adapter = make()
            cold.append(_took_ms(adapter, conversation, log))
            for number in range(5):
                answer, question = (
                    conversation.append("assistant", f"{number}"),
                    conversation.append("user", "And?"),
                )
                log = [*log, answer, question]
                more.append(_took_ms(adapter, conversation, log))
    return cold, more


def _field(name: str, kind: str, space: str, data: bytes) -> HiddenField:
    return HiddenField(provider=name, space=space, kind=kind, data=data.hex()[: len(data)])


def _took_ms(adapter: Adapter, conversation: Conversation, log: Sequence[Message]) -> float:
    hidden = Hidden.of(conversation, now_ms=0)
    began_s = time.thread_time()
    adapter.materialize(log, Target(adapter.name), (), hidden)
    return (time.thread_time() - began_s) * 1000


if __name__ == "__main__":
    main()
