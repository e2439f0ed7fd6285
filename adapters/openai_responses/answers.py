"""
An answer of the log as the items that it came in.

A reasoning item goes back whole, and the item that was made from it right behind it. Where one of
them can't go, no item of the answer has an id: the API pairs items by their ids, and only by those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.exchange import Hidden, Note, SentField
from adapters.normalize import Block, Turn
from adapters.openai_responses.kinds import CALL, MESSAGE, RESPONSE, TEXTS
from adapters.remote import is_json, maps
from adapters.spaces import Place, may_go, sent_field
from crdt_conv import HiddenField


class Answers:
    """Writes answers; tells what went along and what was left out."""

    def __init__(self, place: Place, hidden: Hidden, left_out: list[Note], sent: list[SentField]) -> None:
        self._place = place
        self._hidden = hidden
        self._left_out = left_out
        self._sent = sent

    def items_of(self, turn: Turn) -> list[dict[str, Any]]:
        """Return an answer's items; none, if nothing of it can be sent."""
        assert turn.message is not None
        fields = self._valid(turn)
        own = [field for field in self._hidden.of_message(turn.message) if field.kind != RESPONSE]
        items: list[dict[str, Any]] = []
        blocks = list(turn.blocks)
        while blocks:
            items += self._next(blocks, fields)
        if items and items[-1].get("type") == "reasoning":
            self._left_out.append(Note(turn.message.id, "reasoning that nothing was made from"))
            while items and items[-1].get("type") == "reasoning":
                items.pop()
        is_whole = len(fields) == len(own)
        self._sent += [sent_field(turn.message.id, field) for field in fields.values()]
        return items if is_whole else [_without_id(item) for item in items]

    def _valid(self, turn: Turn) -> dict[str, HiddenField]:
        """Return the fields that may go along, by the part they belong to."""
        assert turn.message is not None
        valid: dict[str, HiddenField] = {}
        for field in self._hidden.of_message(turn.message):
            if field.kind == RESPONSE:
                continue
            told = may_go(field, turn.message, self._place, self._hidden)
            reason = told.reason or ("" if _item(field) is not None else "it can't be read")
            if reason:
                self._left_out.append(Note(turn.message.id, f"{field.kind}: {reason}"))
            elif field.at is not None:
                valid[field.at] = field
        return valid

    def _next(self, blocks: list[Block], fields: Mapping[str, HiddenField]) -> list[dict[str, Any]]:
        """Take the blocks of one item from the front, and return it."""
        block = blocks.pop(0)
        field = fields.get(block.part.id)
        match block.type:
            case "text":
                return [self._message(block, blocks, field)]
            case "tool_call":
                extra = _item(field) if field is not None and field.kind == CALL else None
                call = {"type": "function_call", "call_id": block.call_id, "name": block.name}
                return [{**(extra or {}), **call, "arguments": block.arguments}]
            case "reasoning" | "opaque" if field is not None:
                item = _item(field)
                return [item] if item is not None else []
            case "reasoning" | "opaque":
                return []
            case _:
                self._left_out.append(Note(block.message.id, f"a part {block.type!r} of an answer"))
                return []

    @staticmethod
    def _message(block: Block, blocks: list[Block], field: HiddenField | None) -> dict[str, Any]:
        item = _item(field) if field is not None and field.kind == MESSAGE else None
        contents = maps(item.get("content")) if item is not None else []
        if item is None or not contents:
            return {"role": "assistant", "content": block.text}
        texts = [block.text]
        while len(texts) < len(contents) and blocks and blocks[0].type == "text":
            texts.append(blocks.pop(0).text)
        written = [
            {**content, TEXTS[content["type"]]: text}
            for content, text in zip(contents, texts, strict=False)
            if content.get("type") in TEXTS
        ]
        return {**item, "content": written}


def _item(field: HiddenField) -> dict[str, Any] | None:
    item = json.loads(str(field.data)) if is_json(field.data) else None
    return item if isinstance(item, dict) else None


def _without_id(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item that pairs with nothing."""
    if item.get("type") == "message":
        texts: Sequence[Any] = [content.get("text") or content.get("refusal") for content in item["content"]]
        return {"role": "assistant", "content": "".join(str(text) for text in texts)}
    return {key: value for key, value in item.items() if key != "id"}
