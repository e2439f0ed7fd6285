"""What differs between Claude models: one table of patterns. Source: facts, 3.4 to 3.6."""

from __future__ import annotations

import re
from typing import Final

# They bind reasoning to the exact prefix; Fable 5, Mythos 5.1, Opus 5, Sonnet 5 and older do not.
_BINDS: Final = re.compile(
    r"claude-(((fable|opus|sonnet|haiku)-5-[1-9]|mythos-5-[2-9])(?!\d)|(fable|mythos|opus|sonnet|haiku)-[6-9])"
)
# Models before 4.8 take system text at the front alone.
_SYSTEM_ANYWHERE: Final = re.compile(r"claude-(opus-4-[89]|(opus|sonnet|haiku|fable|mythos)-[5-9])")
_KNOWN: Final = re.compile(r"claude-([2-4]|(opus|sonnet|haiku|fable|mythos)-[45])")
_SHORT: Final = re.compile(r"claude-(2|3-(opus|sonnet|haiku))")

_MAX_TOKENS: Final = 8192
_MAX_TOKENS_SHORT: Final = 4096


def binds_prefix(model: str) -> bool:
    """Whether a model's reasoning holds behind the exact request alone; assumed of one that nobody knows."""
    name = _plain(model)
    return bool(_BINDS.search(name)) or ("claude" in name and not _KNOWN.search(name))


def takes_system_anywhere(model: str) -> bool:
    """Whether a model takes messages of the role system behind a user's."""
    return bool(_SYSTEM_ANYWHERE.search(_plain(model)))


def max_tokens_of(model: str, thinking: object) -> int:
    """Return how much an answer may hold where a run leaves that open: the API wants a number."""
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    length = _MAX_TOKENS_SHORT if _SHORT.search(_plain(model)) else _MAX_TOKENS
    return length + budget if isinstance(budget, int) else length


def _plain(model: str) -> str:
    return model.lower().replace(".", "-")
