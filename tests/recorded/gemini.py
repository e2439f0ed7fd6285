"""Reading recorded requests of Gemini's generateContent."""

from __future__ import annotations

import base64
import json
from typing import Any

from adapters.exchange import Tool
from adapters.exchange.tools import tools_part
from adapters.gemini import Gemini
from adapters.gemini.kinds import PART, SIGNATURE
from adapters.spaces import Place
from crdt_conv import Conversation, Part, Target, new_part
from tests.recorded.files import Exchange
from tests.recorded.replay import Entry

URLS = {
    "google": "https://generativelanguage.googleapis.com",
    "google-vertex": "https://aiplatform.googleapis.com",
}
OURS = {"contents", "systemInstruction", "tools"}
CAMEL = {
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "inline_data": "inlineData",
    "file_data": "fileData",
    "mime_type": "mimeType",
    "file_uri": "fileUri",
    "thought_signature": "thoughtSignature",
    "tool_type": "toolType",
    "parameters_json_schema": "parametersJsonSchema",
    "function_declarations": "functionDeclarations",
}


def camel(value: Any) -> Any:
    """Return JSON with the keys that Google takes in two spellings in one of them."""
    if isinstance(value, dict):
        return {CAMEL.get(key, key): camel(item) for key, item in value.items()}
    return [camel(item) for item in value] if isinstance(value, list) else value


class GeminiReader:
    """Reads requests of generateContent."""

    def adapter(self, exchange: Exchange) -> Gemini:
        path, _, _ = exchange.path.partition("/models/")
        return Gemini("any", base_url=f"{URLS[exchange.provider]}{path}", api_key="key")

    def target(self, exchange: Exchange) -> Target:
        params = {key: value for key, value in exchange.body.items() if key not in OURS}
        model = exchange.path.partition("/models/")[2].partition(":")[0]
        return Target("gemini", model, params=params)

    def history(self, exchange: Exchange, conversation: Conversation) -> list[Entry]:
        adapter = self.adapter(exchange)
        reading = _Reading(conversation, adapter.place(self.target(exchange)))
        body = camel(exchange.body)
        system = body.get("systemInstruction", {}).get("parts", [])
        lead = Entry("system", [new_part("text", text=part["text"]) for part in system])
        given = body.get("tools", [])
        tools = [tool for entry in (given if isinstance(given, list) else [given]) for tool in _tools(entry)]
        if tools:
            lead.parts.append(tools_part(tools))
        entries = [lead] if lead.parts else []
        for content in body["contents"]:
            entries += reading.entries(content)
        return entries


def _tools(entry: dict[str, Any]) -> list[Tool]:
    if "functionDeclarations" not in entry:
        return [Tool(next(iter(entry)), native={"gemini": entry})]
    return [
        Tool(tool["name"], tool.get("description"), tool.get("parametersJsonSchema", tool.get("parameters")))
        for tool in entry["functionDeclarations"]
    ]


class _Reading:
    def __init__(self, conversation: Conversation, place: Place) -> None:
        self._conversation = conversation
        self._place = place

    def entries(self, content: dict[str, Any]) -> list[Entry]:
        entries: list[Entry] = []
        for part in content["parts"]:
            role = (
                "tool"
                if "functionResponse" in part
                else "assistant"
                if content["role"] == "model"
                else "user"
            )
            if not entries or entries[-1].role != role:
                entries.append(Entry(role))
            self._add(entries[-1], part)
        return entries

    def _add(self, entry: Entry, part: dict[str, Any]) -> None:
        at, signature = len(entry.parts), part.get("thoughtSignature")
        if part.get("text") and not part.get("thought"):
            entry.parts.append(new_part("text", text=part["text"]))
        elif "functionCall" in part:
            call = part["functionCall"]
            arguments = json.dumps(call["args"])
            # Older models gave no ids: call and response name the function alone.
            call_id = call.get("id", call["name"])
            entry.parts.append(new_part("tool_call", call_id=call_id, name=call["name"], arguments=arguments))
        elif "functionResponse" in part:
            self._response(entry, part["functionResponse"])
        elif "inlineData" in part or "fileData" in part:
            entry.parts.append(self._media(part))
        else:
            entry.parts.append(new_part("opaque", kind="part"))
            entry.sealed.append((at, self._place.seal(PART, json.dumps(part))))
            return
        if signature:
            entry.sealed.append((at, self._place.seal(SIGNATURE, signature)))

    def _response(self, entry: Entry, response: dict[str, Any]) -> None:
        content = json.dumps(response["response"])
        entry.parts.append(
            new_part(
                "tool_result", call_id=response.get("id", response["name"]), content=content, is_error=False
            )
        )
        entry.parts += [self._media(part) for part in response.get("parts", ())]

    def _media(self, part: dict[str, Any]) -> Part:
        if "inlineData" in part:
            inline = part["inlineData"]
            return self._conversation.attach_bytes(
                base64.urlsafe_b64decode(inline["data"]), mime=inline["mimeType"]
            )
        return new_part("media", mime=part["fileData"]["mimeType"], url=part["fileData"]["fileUri"])
