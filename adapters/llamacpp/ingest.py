"""
From the events of llama-server's chat stream to operations. Pure but for what it remembers.

``{choices: [{delta: {content?, reasoning_content?}, finish_reason?}]}``, then one event
with ``choices: []`` that has ``usage`` and ``timings``. Events and keys it does not
know are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.errors import StreamBroken
from adapters.exchange import Finished, Operation, ReasoningDelta, TextDelta

_TIMINGS = ("cache_n", "prompt_n", "prompt_ms", "predicted_n", "predicted_ms")


class ChatIngest:
    """Reads one answer."""

    def __init__(self) -> None:
        self._stop_reason = ""
        self._usage: dict[str, Any] = {}

    def feed(self, event: Mapping[str, Any]) -> Sequence[Operation]:
        """Take one event."""
        self._count(event)
        operations: list[Operation] = []
        for choice in _maps(event.get("choices")):
            delta = choice.get("delta")
            if isinstance(delta, dict):
                operations.extend(_deltas(delta))
            if isinstance(choice.get("finish_reason"), str):
                self._stop_reason = choice["finish_reason"]
        return operations

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream.

        Raises:
            StreamBroken: The server never said why it stopped.
        """
        if not self._stop_reason:
            raise StreamBroken("the answer broke off before its end")
        return [Finished(self._stop_reason, self._usage)]

    def _count(self, event: Mapping[str, Any]) -> None:
        usage, timings = event.get("usage"), event.get("timings")
        if isinstance(usage, dict):
            counts = {
                "input_tokens": usage.get("prompt_tokens"),
                "output_tokens": usage.get("completion_tokens"),
            }
            self._usage |= {key: count for key, count in counts.items() if isinstance(count, int)}
        if isinstance(timings, dict):
            self._usage["timings"] = {key: timings[key] for key in _TIMINGS if key in timings}
            cached = timings.get("cache_n")
            if isinstance(cached, int):
                self._usage["cached_tokens"] = cached


def _deltas(delta: Mapping[str, Any]) -> list[Operation]:
    operations: list[Operation] = []
    reasoning, text = delta.get("reasoning_content"), delta.get("content")
    if isinstance(reasoning, str) and reasoning:
        operations.append(ReasoningDelta(reasoning))
    if isinstance(text, str) and text:
        operations.append(TextDelta(text))
    return operations


def _maps(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
