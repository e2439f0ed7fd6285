"""
From a log to a request of Chat Completions. Pure.

One message of the log is one message of the request, so that what was sent before stays
a prefix byte for byte. Reasoning goes back only to who made it, and only where the
dialect wants it; what a provider sealed goes back as it came, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from adapters.exchange import Hidden, Note, Report, Request, Tool
from adapters.normalize import Head, Progress, Result, Turn, Writer, with_offered
from adapters.openai_chat.dialects import Dialect
from adapters.openai_chat.parts import part_of
from adapters.prefix import salt_of
from adapters.remote import is_json, params_of
from adapters.spaces import Place, may_go, sent_field
from crdt_conv import HiddenField, Message, Target

VERSION: Final = "openai-chat/1"
PATH: Final = "/chat/completions"
JOINT: Final = "\n\n"

REASONING: Final = "reasoning"
"""A hidden field of this kind holds the key under which readable reasoning came."""
REASONING_KEYS: Final = ("reasoning_content", "reasoning", "thinking")
MESSAGE_KEYS: Final = ("reasoning_details", "extra_content", "thought_signature")
"""Kinds of hidden fields that are keys of a message, or of a call, and JSON text."""

_NAME = re.compile(r"[^a-zA-Z0-9_-]")


def materialize(
    log: Sequence[Message],
    target: Target,
    tools: Sequence[Tool],
    hidden: Hidden,
    *,
    place: Place,
    dialect: Dialect,
    progress: Progress[ChatWriter] | None = None,
) -> tuple[Request, Report]:
    """
    Return the request that asks for the next answer, and what became of the log.

    Raises:
        NothingToAnswer: The log does not end with something to answer.
    """
    upstream = _upstream(log, place, hidden) if dialect.pins_upstream else None
    key = (place, dialect, hidden.refused, upstream)
    writer, turns = (progress or Progress()).follow(
        log, key, hidden, lambda head: ChatWriter(dialect, place, hidden, upstream, head)
    )
    turns.check_answerable()
    offered, notes = with_offered(turns.tools, tuple(tools))
    params, refused = params_of(target, kept_back=frozenset({"n"}))
    if dialect.max_tokens not in params and "max_tokens" in params:
        params[dialect.max_tokens] = params.pop("max_tokens")
    functions, foreign = _tools(offered, dialect)
    body: dict[str, Any] = {
        "model": place.model,
        "messages": writer.written,
        **({"tools": functions} if functions else {}),
        "stream": True,
        **({"stream_options": {"include_usage": True}} if dialect.has_usage_option else {}),
        **writer.pin(is_open=turns.turns[-1].role == "tool"),
        **params,
    }
    left_out = (*turns.left_out, *notes, *writer.left_out, *foreign, *refused)
    report = Report(VERSION, turns.sent, left_out, turns.repairs, tuple(writer.sent))
    return Request(PATH, body, salt=partial(salt_of, log)), report


class ChatWriter(Writer):
    """Writes the messages of one request."""

    def __init__(
        self, dialect: Dialect, place: Place, hidden: Hidden, upstream: str | None, head: Head
    ) -> None:
        super().__init__(replace(place, space=upstream) if upstream else place, hidden)
        self._dialect = dialect
        self._upstream = upstream
        first = JOINT.join(turn.text for turn in head.lead if turn.text)
        if first:
            self.written.append({"role": dialect.system_role, "content": first})

    def add(self, turn: Turn, before: str, after: str) -> None:
        """Write a turn; what stands beside it makes no difference."""
        del before, after
        self.written += getattr(self, f"_{turn.role}")(turn)

    def pin(self, *, is_open: bool) -> dict[str, Any]:
        """Return what keeps a router at the upstream that can read its own reasoning."""
        if self._upstream is None or not any(sent.space == self._upstream for sent in self.sent):
            return {}
        order = {"order": [self._upstream.partition("/")[2]]}
        return {"provider": {**order, "allow_fallbacks": False} if is_open else order}

    def _system(self, turn: Turn) -> list[dict[str, Any]]:
        role = self._dialect.system_role if self._dialect.system_anywhere else "user"
        return [{"role": role, "content": turn.text}] if turn.text else []

    def _user(self, turn: Turn) -> list[dict[str, Any]]:
        parts = [
            part_of(block, self._dialect, self._place, self._hidden, self.left_out) for block in turn.blocks
        ]
        is_text = len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text"
        return [{"role": "user", "content": parts[0]["text"] if is_text else parts}]

    def _tool(self, turn: Turn) -> list[dict[str, Any]]:
        written = [
            {"role": "tool", "tool_call_id": self._call_id(result.call_id), "content": result.whole_text}
            for result in turn.results
        ]
        parts = [part for result in turn.results for part in self._shown(result)]
        # A message of this role holds text alone.
        return [*written, {"role": "user", "content": parts}] if parts else written

    def _shown(self, result: Result) -> list[dict[str, Any]]:
        if not result.media:
            return []
        intro = {"type": "text", "text": f"What {result.name} returned beside its result:"}
        return [
            intro,
            *(
                part_of(block, self._dialect, self._place, self._hidden, self.left_out)
                for block in result.media
            ),
        ]

    def _assistant(self, turn: Turn) -> list[dict[str, Any]]:
        assert turn.message is not None
        fields = self._valid(turn)
        said = [block for block in turn.blocks if block.type == "text"]
        refusal = "".join(block.text for block in said if self._is_refusal(block.part.content))
        text = "".join(block.text for block in said if not self._is_refusal(block.part.content))
        calls = [self._call(block.call_id, block.name, block.arguments) for block in turn.calls]
        for call, block in zip(calls, turn.calls, strict=True):
            call |= self._keys(fields, block.part.id)  # noqa: PLW2901 - it is changed in its list
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        message |= {"refusal": refusal} if refusal else {}
        message |= {"tool_calls": calls} if calls else {}
        at_calls = {block.part.id for block in turn.calls}
        for field in fields:
            if field.at not in at_calls and field.kind in MESSAGE_KEYS:
                message[field.kind] = json.loads(str(field.data))
        if not (text or refusal or calls):
            self.left_out.append(Note(turn.message.id, "nothing in it can be sent to this provider"))
            return []
        return [self._with_reasoning(message, turn, fields)]

    def _is_refusal(self, content: Any) -> bool:
        return content.get("refusal") is True and self._dialect.provider in ("openai", "azure")

    def _keys(self, fields: Sequence[HiddenField], part_id: str) -> dict[str, Any]:
        at_part = [field for field in fields if field.at == part_id and field.kind in MESSAGE_KEYS]
        return {field.kind: json.loads(str(field.data)) for field in at_part}

    def _valid(self, turn: Turn) -> list[HiddenField]:
        """Return the hidden fields of an answer that may go along."""
        assert turn.message is not None
        valid: list[HiddenField] = []
        for field in self._hidden.of_message(turn.message):
            told = may_go(field, turn.message, self._place, self._hidden)
            reason = told.reason or self._unwanted(field)
            if reason:
                self.left_out.append(Note(turn.message.id, f"{field.kind}: {reason}"))
            else:
                valid.append(field)
                self.sent.append(sent_field(turn.message.id, field))
        return valid

    def _unwanted(self, field: HiddenField) -> str:
        if field.kind == REASONING:
            if self._dialect.reasoning == "never":
                return "this provider takes no reasoning back"
            if field.data not in REASONING_KEYS:
                return "it came under a key that nobody knows"
            return "" if field.provider == self._place.provider else f"{field.provider} made it"
        if field.kind not in MESSAGE_KEYS:
            return "Chat Completions has no place for it"
        return "" if is_json(field.data) else "it can't be read"

    def _with_reasoning(
        self, message: dict[str, Any], turn: Turn, fields: Sequence[HiddenField]
    ) -> dict[str, Any]:
        texts = {block.part.id: block.text for block in turn.blocks if block.type == "reasoning"}
        for field in fields:
            if field.kind == REASONING and field.at in texts and isinstance(field.data, str):
                _put_reasoning(message, field.data, texts[field.at])
        if self._dialect.reasoning == "required" and turn.calls:
            # It refuses the request without; of another model's answer there is none.
            message.setdefault("reasoning_content", "")
        return message

    def _call(self, call_id: str, name: str, arguments: str) -> dict[str, Any]:
        function = {"name": safe_name(name), "arguments": arguments}
        return {"id": self._call_id(call_id), "type": "function", "function": function}

    def _call_id(self, call_id: str) -> str:
        if re.fullmatch(self._dialect.call_id, call_id):
            return call_id
        return hashlib.sha256(call_id.encode()).hexdigest()[:9]


def _put_reasoning(message: dict[str, Any], key: str, text: str) -> None:
    if key == "thinking":
        # Mistral has it among the parts of the content.
        said = message["content"]
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
        message["content"] = [thought, *([{"type": "text", "text": said}] if said else [])]
    else:
        message[key] = text


def _upstream(log: Sequence[Message], place: Place, hidden: Hidden) -> str | None:
    """Return the key space of the last answer that this router and model sealed anything in."""
    for message in reversed(log):
        for field in hidden.of_message(message):
            if field.space.startswith(f"{place.space}/") and field.model == place.model:
                return field.space
    return None


def _tools(offered: Sequence[Tool], dialect: Dialect) -> tuple[list[dict[str, Any]], list[Note]]:
    written: list[dict[str, Any]] = []
    notes: list[Note] = []
    for tool in offered:
        native = tool.native.get(dialect.provider) or tool.native.get("openai-chat")
        if native is not None:
            written.append(dict(native))
        elif tool.parameters is not None:
            written.append({"type": "function", "function": _function(tool)})
        else:
            notes.append(Note(tool.name, "a tool that only another provider has"))
    return written, notes


def _function(tool: Tool) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description is not None else {}
    strict = {"strict": tool.strict} if tool.strict is not None else {}
    return {"name": safe_name(tool.name), **described, "parameters": dict(tool.parameters or {}), **strict}


def safe_name(name: str) -> str:
    """Return a name of letters, digits, ``_`` and ``-`` alone, 64 at most."""
    return _NAME.sub("_", name)[:64]
