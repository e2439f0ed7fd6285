"""Reading recorded requests of the Messages API."""

from __future__ import annotations

import base64
import json
from typing import Any

from adapters.anthropic import Anthropic
from adapters.exchange import Tool
from adapters.exchange.tools import tools_part
from adapters.spaces import Place
from crdt_conv import Conversation, HiddenField, Part, Target, new_part
from tests.recorded.files import Exchange
from tests.recorded.replay import Entry

OURS = {"messages", "model", "tools", "stream", "system", "container"}


class MessagesReader:
    """Reads requests of the Messages API."""

    def adapter(self, exchange: Exchange) -> Anthropic:
        return Anthropic("any", api_key="key")

    def target(self, exchange: Exchange) -> Target:
        params = {key: value for key, value in exchange.body.items() if key not in OURS}
        # Bedrock has the model in the path.
        model = exchange.body.get("model") or exchange.path.split("/")[2]
        return Target("anthropic", model, params=params)

    def history(self, exchange: Exchange, conversation: Conversation) -> list[Entry]:
        adapter = self.adapter(exchange)
        reading = _Reading(conversation, adapter.place(self.target(exchange)))
        system = _texts(exchange.body.get("system"))
        entries = [Entry("system", [new_part("text", text=text)]) for text in system]
        if exchange.body.get("tools"):
            entries = entries or [Entry("system")]
            entries[0].parts.append(tools_part([_tool(tool) for tool in exchange.body["tools"]]))
        for message in exchange.body["messages"]:
            entries += reading.entries(message)
        return entries


def _texts(system: Any) -> list[str]:
    if not system:
        return []
    return ["\n\n".join(part["text"] for part in system)] if isinstance(system, list) else [system]


def _tool(tool: dict[str, Any]) -> Tool:
    if tool.keys() <= {"name", "description", "input_schema", "strict"}:
        return Tool(tool["name"], tool.get("description"), tool["input_schema"], tool.get("strict"))
    return Tool(tool.get("name", tool.get("type", "")), native={"anthropic": tool})


class _Reading:
    def __init__(self, conversation: Conversation, place: Place) -> None:
        self._conversation = conversation
        self._place = place

    def entries(self, message: dict[str, Any]) -> list[Entry]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results = [block for block in blocks if block["type"] == "tool_result"]
        rest = [block for block in blocks if block["type"] != "tool_result"]
        entries = [self._results(results)] if results else []
        if rest:
            entry = Entry(message["role"])
            for block in rest:
                self._add(entry, block)
            entries.append(entry)
        return entries

    def _results(self, blocks: list[dict[str, Any]]) -> Entry:
        entry = Entry("tool")
        for block in blocks:
            content = block.get("content", "")
            inner: list[dict[str, Any]] = content if isinstance(content, list) else []
            content = "" if inner else content
            is_error = block.get("is_error", False)
            entry.parts.append(
                new_part("tool_result", call_id=block["tool_use_id"], content=content, is_error=is_error)
            )
            for part in inner:
                self._add(entry, part)
        return entry

    def _add(self, entry: Entry, block: dict[str, Any]) -> None:
        at = len(entry.parts)
        match block["type"]:
            case "text":
                entry.parts.append(new_part("text", text=block["text"]))
                if block.get("citations"):
                    entry.sealed.append((at, self._seal("citations", json.dumps(block["citations"]))))
            case "thinking":
                entry.parts.append(new_part("reasoning", text=block["thinking"]))
                entry.sealed.append((at, self._seal("thinking", block["signature"])))
            case "tool_use":
                arguments = json.dumps(block["input"])
                entry.parts.append(
                    new_part("tool_call", call_id=block["id"], name=block["name"], arguments=arguments)
                )
            case kind:
                part = self._media(block)
                if part is None:
                    part = new_part("opaque", kind=kind)
                    entry.sealed.append((at, self._seal(kind, json.dumps(_unmarked(block)))))
                entry.parts.append(part)

    def _seal(self, kind: str, data: str) -> HiddenField:
        return self._place.seal(kind, data)

    def _media(self, block: dict[str, Any]) -> Part | None:
        source = block.get("source")
        if block["type"] not in ("image", "document") or not isinstance(source, dict):
            return None
        if block.keys() - {"type", "source", "cache_control"}:
            return None
        if source["type"] == "base64":
            data = base64.b64decode(source["data"])
            return self._conversation.attach_bytes(data, mime=source["media_type"])
        if source["type"] == "text":
            return self._conversation.attach_bytes(source["data"].encode(), mime="text/plain")
        mime = "image/*" if block["type"] == "image" else "application/pdf"
        return new_part("media", mime=mime, url=source["url"]) if source["type"] == "url" else None


def _unmarked(block: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "cache_control"}
