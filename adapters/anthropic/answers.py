"""
An answer of the log as the content that it came with, block for block.

Reasoning goes back with its signature, or not at all, and of blocks of reasoning in a row
all or none: the API refuses a run that was changed. Of an answer that broke off, a tool of the
provider's without a result is left out. Behind a ``fallback`` the reasoning and the calls of the model
that gave up are not sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from adapters.exchange import Hidden, Note, SentField
from adapters.normalize import Block, Turn
from adapters.remote import is_json
from adapters.spaces import Place, may_go, sent_field
from crdt_conv import HiddenField

THINKING: Final = "thinking"
REDACTED: Final = "redacted_thinking"
CITATIONS: Final = "citations"
TOOL_USE: Final = "tool_use"
CONTAINER: Final = "container"

_SERVER_USES: Final = frozenset({"server_tool_use", "mcp_tool_use"})

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NAME = re.compile(r"[^a-zA-Z0-9_-]")


class Answers:
    """Writes answers; tells what went along and what was left out."""

    def __init__(
        self,
        place: Place,
        hidden: Hidden,
        left_out: list[Note],
        sent: list[SentField],
        dropped: set[str],
    ) -> None:
        self._place = place
        self._hidden = hidden
        self._left_out = left_out
        self._sent = sent
        self.dropped = dropped
        """Ids of calls that are not sent, and whose results must not be either."""

    def content_of(self, turn: Turn, prefix: str | None) -> list[dict[str, Any]]:
        """
        Return an answer's blocks; none, if nothing of it can be sent.

        Args:
            turn: The answer.
            prefix: The digest of the request before it.
        """
        assert turn.message is not None
        fields = self._valid(turn, prefix)
        blocks = self._without_abandoned(turn)
        written: list[dict[str, Any]] = []
        for is_thought, run in groupby(blocks, key=_is_thought):
            made = [(block, self._block(block, fields.get(block.part.id, {}))) for block in run]
            if is_thought and any(block is None for _, block in made):
                self._drop_run(turn, [block for block, _ in made], fields)
                continue
            written += [block for _, block in made if block is not None]
        self._sent += [
            sent_field(turn.message.id, field) for by_kind in fields.values() for field in by_kind.values()
        ]
        return self._sound(turn, written)

    def _valid(self, turn: Turn, prefix: str | None) -> dict[str, dict[str, HiddenField]]:
        """Return the fields that may go along, by part and kind."""
        assert turn.message is not None
        valid: dict[str, dict[str, HiddenField]] = {}
        for field in self._hidden.of_message(turn.message):
            told = may_go(field, turn.message, self._place, self._hidden, prefix=prefix)
            if not told:
                self._left_out.append(Note(turn.message.id, f"{field.kind}: {told.reason}"))
            elif field.at is not None:
                valid.setdefault(field.at, {})[field.kind] = field
        return valid

    def _without_abandoned(self, turn: Turn) -> Sequence[Block]:
        marks = [at for at, block in enumerate(turn.blocks) if block.part.content.get("kind") == "fallback"]
        if not marks:
            return turn.blocks
        given_up = [b for b in turn.blocks[: marks[-1]] if b.type == "tool_call" or _is_thought(b)]
        self.dropped |= {block.call_id for block in given_up if block.type == "tool_call"}
        return [block for block in turn.blocks if block not in given_up]

    def _block(self, block: Block, fields: Mapping[str, HiddenField]) -> dict[str, Any] | None:
        match block.type:
            case "text":
                return self._text(block, fields)
            case "reasoning":
                field = fields.get(THINKING)
                if field is None or not isinstance(field.data, str):
                    return None
                return {"type": "thinking", "thinking": block.text, "signature": field.data}
            case "tool_call":
                return self._call(block, fields)
            case "opaque":
                whole = _whole(next(iter(fields.values()), None))
                return whole if whole is not None and "type" in whole else None
            case _:
                self._left_out.append(Note(block.message.id, f"a part {block.type!r} of an answer"))
                return None

    @staticmethod
    def _text(block: Block, fields: Mapping[str, HiddenField]) -> dict[str, Any]:
        field = fields.get(CITATIONS)
        citations = json.loads(str(field.data)) if field is not None and is_json(field.data) else None
        written = {"type": "text", "text": block.text}
        return {**written, "citations": citations} if isinstance(citations, list) else written

    @staticmethod
    def _call(block: Block, fields: Mapping[str, HiddenField]) -> dict[str, Any]:
        extra = _whole(fields.get(TOOL_USE)) or {}
        call = {"type": "tool_use", "id": safe_id(block.call_id), "name": safe_name(block.name)}
        return {**extra, **call, "input": _input(block.arguments)}

    def _drop_run(self, turn: Turn, run: Sequence[Block], fields: dict[str, dict[str, HiddenField]]) -> None:
        assert turn.message is not None
        for block in run:
            fields.pop(block.part.id, None)
        self._left_out.append(Note(turn.message.id, "reasoning that nobody sealed for this request"))

    def _sound(self, turn: Turn, written: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return content that the API takes: no unpaired tool of its own, no white space alone."""
        assert turn.message is not None
        # In a whole answer they may still be at work: it paused, or waits for results of ours.
        content = written if turn.message.is_complete else _without_waiting(written)
        texts = [block["text"] for block in content if block["type"] == "text"]
        if texts and not any(text.strip() for text in texts):
            content = [block for block in content if block["type"] != "text"]
        if len(content) < len(written):
            self._left_out.append(Note(turn.message.id, "blocks that the provider would refuse alone"))
        if all(block["type"] in (THINKING, REDACTED) for block in content):
            self._left_out.append(Note(turn.message.id, "nothing else in it can be sent to this provider"))
            return []
        return content


def _is_thought(block: Block) -> bool:
    return block.type == "reasoning" or block.part.content.get("kind") == REDACTED


def _without_waiting(blocks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return blocks without tools of the provider's that never came to a result."""
    answered = {block.get("tool_use_id") for block in blocks}
    return [b for b in blocks if b["type"] not in _SERVER_USES or b.get("id") in answered]


def _whole(field: HiddenField | None) -> dict[str, Any] | None:
    whole = json.loads(str(field.data)) if field is not None and is_json(field.data) else None
    if not isinstance(whole, dict) or not isinstance(whole.get("type", ""), str):
        return None
    return {key: value for key, value in whole.items() if key != "cache_control"}


def _input(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        value = arguments
    # Models write what is no object; the API takes nothing else.
    return value if isinstance(value, dict) else {"arguments": value}


def safe_id(call_id: str) -> str:
    """Return an id that the API takes, the same for the same id."""
    if _CALL_ID.fullmatch(call_id):
        return call_id
    return f"toolu_{hashlib.sha256(call_id.encode()).hexdigest()[:24]}"


def safe_name(name: str) -> str:
    """Return a name of letters, digits, ``_`` and ``-`` alone, 64 at most."""
    return _NAME.sub("_", name)[:64]
