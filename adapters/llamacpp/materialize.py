"""
From a log to what a llama.cpp model is to read. Pure.

The request is ours, not the server's: only the server knows template and vocabulary, so
``stream`` makes the tokens of it (``prompt``). Its body:

``messages``: as OpenAI would have them, for the chat template; ``about`` names the messages of
the log in each, and an answer's ``turns`` hold the token ids it was generated as, for every
model that has left some. ``continues``: whether the last of them is an answer to go on with.
``end``: the log's last message, which may be one that only joins branches.
``salt``: what digests of the prompt are salted with; an answer's stands in its turn.
``tools``, ``tool_choice``, ``parallel_tool_calls``, ``json_schema``, ``overflow``, ``max_tokens``, ``stop``,
``sampling``: what is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from adapters.errors import RequestRefused
from adapters.exchange import Hidden, Note, Report, Request, SentField, Tool
from adapters.llamacpp.tokens import KIND, PROVIDER, generated, rest_of
from adapters.normalize import Turn, Turns, joined, normalize, not_sent, with_offered
from crdt_conv import HiddenField, Message, Target

Json: TypeAlias = Any

VERSION: Final = "llamacpp/3"
PATH: Final = "/completion"

JOINT: Final = "\n\n"
"""What stands between two messages that became one turn."""

SAMPLING: Final = frozenset(
    {
        "dry_multiplier",
        "frequency_penalty",
        "min_p",
        "presence_penalty",
        "repeat_last_n",
        "repeat_penalty",
        "seed",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
    }
)
"""Sent to the server as they stand."""

PARAMS: Final = SAMPLING | {
    "json_schema",
    "max_tokens",
    "overflow",
    "parallel_tool_calls",
    "response_format",
    "stop",
    "tool_choice",
}
"""What a target may ask for; whatever else stands in ``params`` is not sent."""

ERROR: Final = "error"
DROP_OLDEST: Final = "drop_oldest"
POLICIES: Final = (ERROR, DROP_OLDEST)
"""What to do with a log that is longer than the model can read; a ``summary`` always counts."""


def materialize(
    log: Sequence[Message],
    target: Target,
    tools: Sequence[Tool],
    hidden: Hidden,
    *,
    overflow: str = ERROR,
    max_tokens: int | None = None,
    space: str | None = None,
) -> tuple[Request, Report]:
    """
    Return the request that asks for the next answer, and what became of the log.

    Args:
        log: What is to be answered; an interrupted answer at its end is gone on with.
        target: With which parameters.
        tools: What the run offers beside the tools in the log.
        hidden: The log's hidden fields and blobs.
        overflow: One of ``POLICIES``, where the target does not name one.
        max_tokens: How long an answer may be where the target does not say; nothing for as long as fits.
        space: The model's key space: no other model's tokens go along. Where it is not known yet, those
            of all models do, as far as ``stream``, which knows.

    Raises:
        NothingToAnswer: The log does not end with something to answer.
        RequestRefused: A parameter can't be what it is.
    """
    turns = normalize(log)
    is_begun = bool(log) and log[-1].role == "assistant" and log[-1].status == "interrupted"
    if not is_begun:
        turns.check_answerable()
    offered, notes = with_offered(turns.tools, tuple(tools))
    salts = _salts(log)
    body: dict[str, Json] = {
        "messages": list(_messages(turns, _Sealed(hidden, salts, space))),
        "salt": salts[""],
        "end": log[-1].id if log else "",
        "continues": is_begun and bool(turns.turns) and turns.turns[-1].role == "assistant",
        "tools": [_function(tool) for tool in offered],
        **_asked(target.params, overflow, max_tokens),
    }
    unknown = [
        Note(key, "llama.cpp is not sent this parameter") for key in sorted(set(target.params) - PARAMS)
    ]
    if body["json_schema"] is not None and body["tools"] and body["tool_choice"] == "auto":
        body["tools"] = []
        unknown.append(Note("tools", "an answer within a schema can't call tools"))
    report = Report(
        VERSION,
        turns.sent,
        (*turns.left_out, *notes, *unknown),
        (*turns.repairs, *_bound(target.params, max_tokens)),
        tuple(_sent_fields(body["messages"])),
    )
    return Request(PATH, body, salt=bytes.fromhex(salts[""])), report


# Parameters


def _bound(params: Mapping[str, Json], max_tokens: int | None) -> list[Note]:
    if params.get("max_tokens") is not None or max_tokens is None:
        return []
    return [
        Note("max_tokens", f"the run does not say how long an answer may be: {max_tokens} tokens at most")
    ]


def _asked(params: Mapping[str, Json], overflow: str, max_tokens: int | None) -> dict[str, Json]:
    stop = params.get("stop") or []
    limit = params.get("max_tokens")
    limit = max_tokens if limit is None else limit
    policy = params.get("overflow", overflow)
    if policy not in POLICIES:
        raise RequestRefused(f"no overflow policy {policy!r}: it is one of {', '.join(POLICIES)}")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 1):
        raise RequestRefused("max_tokens is a number from 1 on")
    return {
        "tool_choice": _choice(params.get("tool_choice", "auto")),
        "parallel_tool_calls": params.get("parallel_tool_calls") is not False,
        "json_schema": _schema(params),
        "overflow": policy,
        "max_tokens": int(limit) if limit is not None else None,
        "stop": [stop] if isinstance(stop, str) else [str(word) for word in stop],
        "sampling": {key: params[key] for key in sorted(params) if key in SAMPLING},
    }


def _choice(choice: Json) -> str:
    if isinstance(choice, str):
        return choice
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise RequestRefused('tool_choice is "auto", "none", "required" or names a function')
    return name


def _schema(params: Mapping[str, Json]) -> Json:
    wanted = params.get("json_schema")
    if wanted is not None:
        return wanted
    form = params.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return form.get("schema") or {"type": "object"}
    named = form.get("json_schema") if kind == "json_schema" else None
    if not isinstance(named, dict) or not isinstance(named.get("schema"), dict):
        raise RequestRefused("response_format is no text, json_object, or json_schema with a schema")
    return named["schema"]


# Messages


def _salts(log: Sequence[Message]) -> dict[str, str]:
    """Return, for every message and for the whole log (``""``), what the nonces before it make, in hex."""
    running = hashlib.sha256()
    salts: dict[str, str] = {}
    for message in log:
        if message.role == "assistant":
            salts[message.id] = running.hexdigest()
        if message.status != "interrupted" or message is not log[-1]:
            running.update(message.nonce)
    salts[""] = running.hexdigest()
    return salts


@dataclass(frozen=True, slots=True)
class _Sealed:
    """What answers carry, salts by message, and whose tokens are wanted: all, where that is nothing."""

    hidden: Hidden
    salts: Mapping[str, str]
    space: str | None

    def spaces(self, fields: Sequence[HiddenField]) -> list[str]:
        """Return the key spaces whose tokens are wanted."""
        return [space for space in dict.fromkeys(f.space for f in fields) if self.space in {None, space}]


def _messages(turns: Turns, sealed: _Sealed) -> Iterator[dict[str, Json]]:
    """Yield one system message at most, first; then user and assistant by turns: templates want no less."""
    lead = JOINT.join(turn.text for turn in turns.lead if turn.text)
    if lead:
        yield {"role": "system", "content": lead, "about": _about(turns.lead)}
    # A system message in the middle stands where it was written: at the front it would change the prefix.
    for group in joined(turns.talk, same=[["user", "system"]]):
        role = "user" if group[0].role == "system" else group[0].role
        if role == "tool":
            yield from _results(group)
        elif role == "assistant":
            yield from _answer(group, sealed)
        elif text := JOINT.join(filter(None, (_text(turn) for turn in group))):
            yield {"role": role, "content": text, "about": _about(group)}


def _results(group: Sequence[Turn]) -> Iterator[dict[str, Json]]:
    for turn in group:
        for result in turn.results:
            pictures = (not_sent(block.part) for block in result.media if block.type == "media")
            text = "\n".join((result.whole_text, *pictures))
            yield {
                "role": "tool",
                "tool_call_id": result.call_id,
                "name": result.name,
                "content": text,
                "about": [result.message.id] if result.message is not None else [],
            }


def _answer(group: Sequence[Turn], sealed: _Sealed) -> Iterator[dict[str, Json]]:
    written = [_written(turn, sealed) for turn in group]
    text = JOINT.join(filter(None, (turn["text"] for turn in written)))
    calls = [call for turn in group for call in _calls(turn)]
    reasoning = JOINT.join(
        block.text for turn in group for block in turn.blocks if block.type == "reasoning" and block.text
    )
    if text or calls or any(turn["tokens"] for turn in written):
        yield {
            "role": "assistant",
            "content": text,
            **({"reasoning_content": reasoning} if reasoning else {}),
            **({"tool_calls": calls} if calls else {}),
            "about": _about(group),
            "turns": written,
        }


def _written(turn: Turn, sealed: _Sealed) -> dict[str, Json]:
    """Return an answer's text, and its tokens by the model that has left them."""
    assert turn.message is not None
    message, fields = turn.message, _fields(turn.message, sealed.hidden)
    tokens: dict[str, Json] = {}
    reason = "its token ids are another model's" if fields else "no token ids are kept with it"
    for space in sealed.spaces(fields):
        known, reason = generated(message.parts, fields, space)
        if known is not None:
            rest = rest_of(message.parts, known.end)
            tokens[space] = {
                "prompt": known.prompt.hex(),
                "content": known.content.hex(),
                "ids": list(known.ids),
                "rest": rest,
                "why": reason,
            }
    return {
        "about": message.id,
        "text": _text(turn),
        "raw": turn.text,
        "tokens": tokens,
        "why": reason,
        "salt": sealed.salts[message.id],
    }


def _fields(message: Message, hidden: Hidden) -> list[HiddenField]:
    return [
        field.with_data(hidden.blob)
        for field in hidden.of_message(message)
        if field.provider == PROVIDER and field.kind == KIND
    ]


def _sent_fields(messages: Sequence[Mapping[str, Json]]) -> Iterator[SentField]:
    for message in messages:
        for turn in message.get("turns", ()):
            for space in turn["tokens"]:
                yield SentField(turn["about"], None, KIND, space)


def _about(turns: Sequence[Turn]) -> list[str]:
    return [turn.message.id for turn in turns if turn.message is not None]


def _text(turn: Turn) -> str:
    return "".join(
        not_sent(block.part) if block.type == "media" else block.text
        for block in turn.blocks
        if block.type in ("text", "summary", "media")
    ).strip()


def _calls(turn: Turn) -> list[dict[str, Json]]:
    return [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in turn.calls
    ]


def _function(tool: Tool) -> dict[str, Json]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters or {}}
    return {"type": "function", "function": {k: v for k, v in function.items() if v is not None}}
