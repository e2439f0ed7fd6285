"""A vocabulary and a few chat templates, small enough to see through; and a turn of a conversation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.errors import RequestRefused
from adapters.exchange import Hidden, Report
from adapters.llamacpp.entries import Entries, entries_of
from adapters.llamacpp.ingest import CompletionIngest
from adapters.llamacpp.materialize import materialize
from adapters.llamacpp.prompt import Prompt, Renderer, Tokenizer
from adapters.llamacpp.tokens import digest_of
from adapters.writing import write_answer
from crdt_conv import Conversation, Message, Target

CONTROL = ("<s>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>")
_FIRST_CONTROL = 2_000_000
_PAIR = 1_000_000
TARGET = Target("llamacpp")


def chatml(messages: Sequence[Mapping[str, Any]], *, asks: bool = True) -> str:
    """Write what most models write."""
    lines = [f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages]
    return "".join(lines) + ("<|im_start|>assistant\n" if asks else "")


def forgetful(messages: Sequence[Mapping[str, Any]]) -> str:
    """Write an empty thought before every earlier answer, and ask for a real one: as Qwen and DeepSeek do."""
    lines = [
        f"<|im_start|>{m['role']}\n{'<think></think>' if m['role'] == 'assistant' else ''}"
        f"{m['content']}<|im_end|>\n"
        for m in messages
    ]
    return "".join(lines) + "<|im_start|>assistant\n<think>"


def mangling(messages: Sequence[Mapping[str, Any]]) -> str:
    """Write answers in capitals: there is no place for their tokens."""
    return chatml(
        [{**m, "content": m["content"].upper()} if m["role"] == "assistant" else m for m in messages]
    )


def doubling(messages: Sequence[Mapping[str, Any]]) -> str:
    """Write every text twice."""
    return chatml([{**m, "content": m["content"] * 2} for m in messages])


def with_begin(messages: Sequence[Mapping[str, Any]]) -> str:
    """Write the begin token, as many templates do."""
    return "<s>" + chatml(messages)


def without_system(messages: Sequence[Mapping[str, Any]]) -> str:
    """Refuse system messages, as Gemma's did."""
    if any(message["role"] == "system" for message in messages):
        raise RequestRefused("System role not supported")
    return chatml(messages)


@dataclass
class TinyServer:
    """
    A tokenizer of letters, of which two that are next to each other make one token.

    So the tokens of a text depend on where it is cut, as real ones do.
    """

    template: Callable[[Sequence[Mapping[str, Any]]], str] = chatml
    begin: str = ""
    rendered: list[str] = field(default_factory=list)

    async def tokenize_mixed(
        self, content: Sequence[str | int], *, add_special: bool, parse_special: bool
    ) -> list[int]:
        ids: list[int] = []
        for place, item in enumerate(content):
            if isinstance(item, int):
                ids.append(item)
                continue
            if place == 0 and add_special and self.begin:
                ids += tokenized(self.begin)
            ids += tokenized(item) if parse_special else letters(item)
        return ids

    async def apply_template(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        self.rendered.append(self.template(messages))
        return self.rendered[-1]


def tokenized(text: str) -> list[int]:
    """Return a text's ids, control tokens as such."""
    pieces = re.split(f"({'|'.join(map(re.escape, CONTROL))})", text)
    return [
        token
        for piece in pieces
        for token in ([_FIRST_CONTROL + CONTROL.index(piece)] if piece in CONTROL else letters(piece))
    ]


def letters(text: str) -> list[int]:
    """Return the ids of letters, two by two."""
    pairs = re.findall(r"[a-z]{2}|.", text, re.DOTALL)
    return [_PAIR + ord(pair[0]) * 256 + ord(pair[1]) if len(pair) == 2 else ord(pair) for pair in pairs]


@dataclass(frozen=True)
class Asked:
    """What was asked in one turn, and what came back."""

    report: Report
    entries: Entries
    prompt: Prompt
    ids: tuple[int, ...]
    message: Message


async def ask(
    conversation: Conversation,
    server: Tokenizer,
    answer: Sequence[str] = ("ab", "cd"),
    *,
    begin: str = "",
    space: str = "tiny",
    has_reasoning: bool = False,
) -> Asked:
    """Answer a conversation with these pieces, each tokenized by itself as if the model had said it so."""
    heads = [head.id for head in conversation.heads()]
    request, report = materialize(conversation.lin(*heads), TARGET, (), Hidden.of(conversation, now_ms=0))
    body = request.body or {}
    entries = entries_of(body, space, is_native=False)
    prompt = await Renderer(server, begin=begin).render(entries.entries)
    digest = digest_of(prompt.tokens, bytes.fromhex(body["salt"])).hex()
    ingest, ids = CompletionIngest(), list[int]()
    told = {"space": space, "model": "tiny", "digest": digest, "has_reasoning": has_reasoning}
    operations = list(ingest.feed({"prompt": told}))
    for piece in answer:
        tokens = await server.tokenize_mixed([piece], add_special=False, parse_special=True)
        ids += tokens
        operations += ingest.feed({"content": piece, "tokens": tokens})
    ingest.feed({"end": {"stop_type": "eos"}})
    message = write_answer(conversation, [*operations, *ingest.end()], conversation.stream)
    return Asked(report, entries, prompt, tuple(ids), message)
