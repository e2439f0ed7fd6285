"""Why an answer ended and what it cost, in the same words for every provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.exchange.request import Json

STOP_REASONS: Final = frozenset(
    {
        "stop",  # The model had said everything.
        "stop_sequence",  # It said what it was told to stop at.
        "length",  # It was cut off: it may go on.
        "tool_calls",  # It waits for results.
        "pause",  # It goes on when it is sent its own words again.
        "refusal",  # It won't.
        "content_filter",  # It was not let.
        "context_overflow",  # No room was left.
        "error",  # The provider broke.
    }
)


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Tokens of one answer, as the provider counted them.

    ``input_tokens`` counts the whole prompt, what came from a cache included (``cached_tokens``);
    ``output_tokens`` all that was written, reasoning included (``reasoning_tokens``).
    ``cost`` is in US dollars, where the provider names it; ``raw`` is its own JSON.
    ``raw_stop_reason`` is its own word.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None
    raw: Mapping[str, Json] = field(default_factory=dict)
    raw_stop_reason: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Return what is known, as a message keeps it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None and value != {}}
