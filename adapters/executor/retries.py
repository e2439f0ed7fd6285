"""When a call is made again, and what a provider has refused before."""

from __future__ import annotations

import secrets
from typing import Final

from adapters.errors import AdapterError
from crdt_conv import Conversation

MAX_ATTEMPTS: Final = 3
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S: Final = 8.0
LONGEST_WAIT_S: Final = 60.0
"""Who says to come back later than this is not waited for: a person decides."""

_random = secrets.SystemRandom()


def is_worth_waiting(error: AdapterError, attempts: int) -> bool:
    """Whether the same bytes may be answered, after so many attempts."""
    return error.is_retryable and attempts < MAX_ATTEMPTS and (error.retry_after_s or 0) <= LONGEST_WAIT_S


def delay_s(error: AdapterError, attempts: int) -> float:
    """Return how long to wait: what the provider said, else twice as long each time, with jitter."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    # Many that were turned away at once are not to come back at once.
    longest_s = min(FIRST_DELAY_S * 2.0 ** (attempts - 1), LONGEST_DELAY_S)
    return longest_s * _random.uniform(0.75, 1.0)


def refused_before(conversation: Conversation) -> frozenset[str]:
    """Return what providers have refused in this conversation, as its runs have it on record."""
    lists = ((run.sent or {}).get("refused") for run in conversation.runs.all())
    return frozenset(key for keys in lists if isinstance(keys, list) for key in keys if isinstance(key, str))
