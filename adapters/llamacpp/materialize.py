"""From a log to a chat request of llama-server. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.exchange import Note, Report, Request
from adapters.normalize import normalize
from crdt_conv import Message, Target

VERSION: Final = "llamacpp/1"

PARAMS: Final = frozenset(
    {
        "max_tokens",
        "min_p",
        "presence_penalty",
        "repeat_penalty",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "top_p",
    }
)
"""What a target may ask for; whatever else stands in ``params`` is not sent."""


def materialize(log: Sequence[Message], target: Target) -> tuple[Request, Report]:
    """
    Return the request that asks for the next answer, and what became of the log.

    Raises:
        NothingToAnswer: The log does not end with something to answer.
    """
    turns = normalize(log)
    body: dict[str, Any] = {
        "messages": [{"role": turn.role, "content": turn.text} for turn in turns.turns],
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache_prompt": True,
        **{key: value for key, value in sorted(target.params.items()) if key in PARAMS},
    }
    unknown = [
        Note(key, "llama.cpp is not sent this parameter") for key in sorted(set(target.params) - PARAMS)
    ]
    sent = sum(len(turn.messages) for turn in turns.turns)
    return (
        Request("/v1/chat/completions", body),
        Report(VERSION, sent, (*turns.left_out, *unknown), turns.repairs),
    )
