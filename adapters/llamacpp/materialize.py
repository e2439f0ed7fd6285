"""From a log to a chat request of llama-server. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.exchange import Hidden, Note, Report, Request, Tool
from adapters.normalize import Turn, Turns, joined, normalize, not_sent, with_offered
from crdt_conv import Message, Target

VERSION: Final = "llamacpp/2"

JOINT: Final = "\n\n"
"""What stands between two messages that became one turn."""

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


def materialize(
    log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
) -> tuple[Request, Report]:
    """
    Return the request that asks for the next answer, and what became of the log.

    Raises:
        NothingToAnswer: The log does not end with something to answer.
    """
    del hidden  # Text is all that it is sent.
    turns = normalize(log)
    turns.check_answerable()
    offered, notes = with_offered(turns.tools, tuple(tools))
    body: dict[str, Any] = {
        "messages": _messages(turns),
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache_prompt": True,
        **({"tools": [_function(tool) for tool in offered]} if offered else {}),
        **{key: value for key, value in sorted(target.params.items()) if key in PARAMS},
    }
    unknown = [
        Note(key, "llama.cpp is not sent this parameter") for key in sorted(set(target.params) - PARAMS)
    ]
    return (
        Request("/v1/chat/completions", body),
        Report(VERSION, turns.sent, (*turns.left_out, *notes, *unknown), turns.repairs),
    )


def _messages(turns: Turns) -> list[dict[str, Any]]:
    """Return one system message at most, first; then user and assistant by turns: templates want no less."""
    lead = JOINT.join(turn.text for turn in turns.lead if turn.text)
    messages: list[dict[str, Any]] = [{"role": "system", "content": lead}] if lead else []
    # A system message in the middle stands where it was written: at the front it would change the prefix.
    for group in joined(turns.talk, same=[["user", "system"]]):
        if group[0].role == "tool":
            messages += [
                {"role": "tool", "tool_call_id": result.call_id, "content": result.whole_text}
                for turn in group
                for result in turn.results
            ]
        elif text := JOINT.join(filter(None, (_text(turn) for turn in group))):
            messages.append({"role": _role(group[0]), "content": text})
            messages[-1] |= _calls(group)
        elif calls := _calls(group):
            messages.append({"role": "assistant", "content": None, **calls})
    return messages


def _role(turn: Turn) -> str:
    return "user" if turn.role == "system" else turn.role


def _text(turn: Turn) -> str:
    return "".join(
        not_sent(block.part) if block.type == "media" else block.text
        for block in turn.blocks
        if block.type in ("text", "summary", "media")
    ).strip()


def _calls(group: Sequence[Turn]) -> dict[str, Any]:
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for turn in group
        for call in turn.calls
    ]
    return {"tool_calls": calls} if calls else {}


def _function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters or {}}
    return {"type": "function", "function": {k: v for k, v in function.items() if v is not None}}
