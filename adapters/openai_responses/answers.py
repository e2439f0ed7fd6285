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
from adapters.openai_responses.kinds import CALL, CUSTOM, MESSAGE, RESPONSE, TEXTS, WAITING
from adapters.remote import is_json, maps
from adapters.spaces import Place, may_go, sent_field
from crdt_conv import HiddenField


class Answers:
    """Writes answers; tells what went along and what was left out."""

    def __init__(
        self,
        place: Place,
        hidden: Hidden,
        left_out: list[Note],
        sent: list[SentField],
        custom: set[str],
    ) -> None:
        self._place = place
        self._hidden = hidden
        self._left_out = left_out
        self._sent = sent
        self.custom = custom
        """Ids of calls that are sent as ones of plain text, and whose results must be so too."""

    def items_of(self, turn: Turn) -> list[dict[str, Any]]:
        """Return an answer's items; none, if nothing of it can be sent."""
        assert turn.message is not None
        fields = self._valid(turn)
        own = [field for field in self._hidden.of_message(turn.message) if field.kind != RESPONSE]
        items: list[dict[str, Any]] = []
        blocks = list(turn.blocks)
        while blocks:
            items += self._next(blocks, fields)
        is_whole = len(fields) == len(own)
        items = self._answered(turn, items)
        if items and items[-1].get("type") == "reasoning":
            self._left_out.append(Note(turn.message.id, "reasoning that nothing was made from"))
            while items and items[-1].get("type") == "reasoning":
                items.pop()
        self._sent += [sent_field(turn.message.id, field) for field in fields.values()]
        return items if is_whole else [bare for item in items if (bare := _without_id(item))]

    def _answered(self, turn: Turn, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return items without calls that wait for what only a client of this API alone could return."""
        assert turn.message is not None
        results = {item.get("call_id") for item in items if str(item.get("type")).endswith("_output")}
        open_ = [item for item in items if item.get("type") in WAITING and item.get("call_id") not in results]
        self._left_out += [Note(turn.message.id, f"{item['type']}: nobody here answers it") for item in open_]
        return [item for item in items if item not in open_]

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
                return [self._call(block, field)]
            case "reasoning" | "opaque" if field is not None:
                item = _item(field)
                return [item] if item is not None else []
            case "reasoning" | "opaque":
                return []
            case _:
                self._left_out.append(Note(block.message.id, f"a part {block.type!r} of an answer"))
                return []

    def _call(self, block: Block, field: HiddenField | None) -> dict[str, Any]:
        extra = _item(field) if field is not None and field.kind in (CALL, CUSTOM) else None
        call = {"call_id": block.call_id, "name": block.name}
        given = _input(block.arguments) if field is not None and field.kind == CUSTOM else None
        if extra is not None and given is not None:
            self.custom.add(block.call_id)
            return {**extra, **call, "type": CUSTOM, "input": given}
        return {**(extra or {}), "type": "function_call", **call, "arguments": block.arguments}

    @staticmethod
    def _message(block: Block, blocks: list[Block], field: HiddenField | None) -> dict[str, Any]:
        item = _item(field) if field is not None and field.kind == MESSAGE else None
        contents = maps(item.get("content")) if item is not None else []
        said = [at for at, content in enumerate(contents) if _is_said(content)]
        if item is None or not said:
            return {"role": "assistant", "content": block.text}
        texts = {said[0]: block.text}
        while len(texts) < len(said) and blocks and blocks[0].type == "text":
            texts[said[len(texts)]] = blocks.pop(0).text
        written = [
            {**content, TEXTS[content["type"]]: texts[at]} if at in texts else content
            for at, content in enumerate(contents)
            if at in texts or not _is_said(content)
        ]
        return {**item, "content": written}


def _is_said(content: Mapping[str, Any]) -> bool:
    """Whether a part of the message says the text of some content."""
    name = TEXTS.get(str(content.get("type")))
    return name is not None and name not in content


def _input(arguments: str) -> str | None:
    """Return the text that a model gave to a tool that takes nothing else."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    given = value.get("input") if isinstance(value, dict) else None
    return given if isinstance(given, str) else None


def _item(field: HiddenField) -> dict[str, Any] | None:
    item = json.loads(str(field.data)) if is_json(field.data) else None
    return item if isinstance(item, dict) else None


def _without_id(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item that pairs with nothing; nothing of one that says nothing then."""
    if item.get("type") == "message":
        texts: Sequence[Any] = [
            content.get("text") or content.get("refusal") or "" for content in maps(item.get("content"))
        ]
        said = "".join(str(text) for text in texts)
        return {"role": "assistant", "content": said} if said else {}
    return {key: value for key, value in item.items() if key != "id"}
