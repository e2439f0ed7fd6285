"""
Synthetic conversations, the same for every store that is measured.

Words come from a vocabulary of 3,000 random ones, drawn by Zipf's law, short ones often: so a store that
compresses gains what it would gain on English. Everything follows from the seed.
"""

from __future__ import annotations

import itertools
import random
import string
from dataclasses import dataclass
from typing import Literal

TEXT_CHARACTERS = 400
HIDDEN_BYTES = 4_096
HIDDEN_EVERY = 10
VOCABULARY_WORDS = 3_000

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Synthetic:
    """
    One message, as every store is given it.

    Attributes:
        role: ``user`` for even places, ``assistant`` for odd ones.
        text: Exactly 400 ASCII characters.
        hidden: What a provider wants back unread, such as encrypted reasoning: 4,096 random bytes on every
            tenth message, always an assistant's; None on the others.
    """

    role: Role
    text: str
    hidden: bytes | None = None


def _vocabulary(rng: random.Random) -> list[str]:
    # By rank: the frequent words of a language are its short ones.
    lengths = (
        rng.randint(1 + min(rank, 300) // 100, 5 + min(rank, 300) // 50) for rank in range(VOCABULARY_WORDS)
    )
    return ["".join(rng.choices(string.ascii_lowercase, k=length)) for length in lengths]


def messages(count: int, *, seed: int = 1) -> list[Synthetic]:
    """Return a conversation of ``count`` messages; a longer one of the same seed begins with it."""
    # Two generators: with one, a hidden field would change the words after it.
    words, noise = random.Random(seed), random.Random(-seed - 1)
    vocabulary = _vocabulary(words)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, VOCABULARY_WORDS + 1)))

    def text() -> str:
        # 200 words and their spaces are 399 characters or more, whatever their lengths.
        # The period: somebody might strip a space at the end.
        drawn = words.choices(vocabulary, cum_weights=weights, k=TEXT_CHARACTERS // 2)
        return f"{' '.join(drawn)[: TEXT_CHARACTERS - 1]}."

    return [
        Synthetic(
            role="assistant" if place % 2 else "user",
            text=text(),
            hidden=noise.randbytes(HIDDEN_BYTES) if place % HIDDEN_EVERY == HIDDEN_EVERY - 1 else None,
        )
        for place in range(count)
    ]


def fork(width: int = 200, *, trunk: int = 20, seed: int = 1) -> tuple[list[Synthetic], list[Synthetic]]:
    """Return a conversation of ``trunk`` messages, and ``width`` replies of users to its last one."""
    drawn = messages(trunk + width, seed=seed)
    return drawn[:trunk], [Synthetic("user", message.text) for message in drawn[trunk:]]
