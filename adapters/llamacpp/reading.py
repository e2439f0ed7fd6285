"""
From the raw text of an answer, as it comes, to its text, reasoning and calls. Pure.

``<think>…</think>`` is reasoning, ``<tool_call>…</tool_call>`` a call, where the model is
one that reasons or was offered tools; else both are text like any other. What may
be the beginning of such a word is held back until it is one, or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from adapters.llamacpp.toolcalls import CLOSE, OPEN, parse_call

THINK: Final = "<think>"
THOUGHT: Final = "</think>"


@dataclass(frozen=True, slots=True)
class Said:
    """More of a ``text`` or ``reasoning``."""

    type: str
    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A whole call; ``arguments`` is JSON."""

    name: str
    arguments: str


Read: TypeAlias = Said | Called


class Reader:
    """Reads one answer."""

    def __init__(self, *, has_reasoning: bool, has_tools: bool, is_thinking: bool = False) -> None:
        """
        Begin to read.

        Args:
            has_reasoning: Whether the model marks its reasoning.
            has_tools: Whether it was offered tools.
            is_thinking: Whether the prompt ends with the mark that reasoning begins with.
        """
        self._words = (*((THINK,) if has_reasoning else ()), *((OPEN,) if has_tools else ()))
        self._state = "reasoning" if is_thinking else "text"
        self._rest = ""
        # Templates set lines apart; nobody wants to read that.
        self._is_fresh = True

    @property
    def is_settled(self) -> bool:
        """Whether everything that came has been read, and no call has begun."""
        return not self._rest and self._state != "call"

    def feed(self, text: str) -> list[Read]:
        """Take in more."""
        self._rest += text
        return list(self._read())

    def end(self) -> list[Read]:
        """Take in the end: what was held back is what it looks like."""
        rest, self._rest = self._rest, ""
        if self._state == "call":
            return [Said("text", f"{OPEN}{rest}")]
        return list(self._said(rest))

    def _read(self) -> Iterator[Read]:
        while self._rest:
            words = {"text": self._words, "reasoning": (THOUGHT,), "call": (CLOSE,)}[self._state]
            place, word = _first(self._rest, words)
            if word:
                before, self._rest = self._rest[:place], self._rest[place + len(word) :]
                yield from self._until(before, word)
                continue
            if self._state == "call":
                return
            kept = _held_back(self._rest, words)
            said, self._rest = self._rest[: len(self._rest) - kept], self._rest[len(self._rest) - kept :]
            yield from self._said(said)
            return

    def _until(self, before: str, word: str) -> Iterator[Read]:
        """Read what stands before a word that changes what is read."""
        if self._state == "call":
            self._state = "text"
            call = parse_call(before)
            yield Called(*call) if call is not None else Said("text", f"{OPEN}{before}{CLOSE}")
            self._is_fresh = True
            return
        yield from self._said(before)
        self._state = {THINK: "reasoning", THOUGHT: "text", OPEN: "call"}[word]
        self._is_fresh = True

    def _said(self, text: str) -> Iterator[Read]:
        if self._is_fresh:
            text = text.lstrip("\n") if self._words or self._state == "reasoning" else text
        if text:
            self._is_fresh = False
            yield Said(self._state, text)


def _first(text: str, words: tuple[str, ...]) -> tuple[int, str]:
    found = [(place, word) for word in words if (place := text.find(word)) >= 0]
    return min(found, default=(-1, ""))


def _held_back(text: str, words: tuple[str, ...]) -> int:
    """Return how many characters at the end of a text may begin one of these words."""
    longest = max((len(word) for word in words), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(word.startswith(text[-length:]) for word in words):
            return length
    return 0
