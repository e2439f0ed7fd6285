"""Reading recorded requests of the Responses API."""

from __future__ import annotations

import base64
import json
from typing import Any

from adapters.exchange import Tool
from adapters.exchange.tools import tools_part
from adapters.openai_responses import OpenAIResponses
from adapters.spaces import Place
from crdt_conv import Conversation, Part, Target, new_part
from tests.recorded.files import Exchange
from tests.recorded.replay import Entry

URLS = {
    "azure": "https://mine.openai.azure.com",
    "bedrock-mantle": "https://bedrock-mantle.us-east-1.api.aws",
    "deepseek": "https://api.deepseek.com",
    "openai": "https://api.openai.com",
    "openrouter": "https://openrouter.ai",
}
OURS = {"input", "instructions", "model", "tools", "stream", "previous_response_id"}
ANSWERS = {"reasoning", "function_call", "tool_search_call", "web_search_call", "message", "compaction"}


class ResponsesReader:
    """Reads requests of the Responses API; remembers what each answer stands for."""

    def __init__(self) -> None:
        self._held: dict[str, list[Entry]] = {}

    def adapter(self, exchange: Exchange) -> OpenAIResponses:
        host = URLS.get(exchange.provider, f"https://{exchange.provider}.example")
        return OpenAIResponses(
            "any", base_url=f"{host}{exchange.path.removesuffix('/responses')}", api_key="key"
        )

    def target(self, exchange: Exchange) -> Target:
        params = {key: value for key, value in exchange.body.items() if key not in OURS}
        params["stateful"] = bool(exchange.body.get("previous_response_id"))
        return Target("openai-responses", exchange.body["model"], params=params)

    def history(self, exchange: Exchange, conversation: Conversation) -> list[Entry]:
        adapter = self.adapter(exchange)
        reading = _Reading(conversation, adapter.place(self.target(exchange)))
        entries = list(self._held.get(str(exchange.body.get("previous_response_id")), ()))
        # They are said anew with each request.
        entries = entries[1:] if entries and entries[0].role == "system" else entries
        given = exchange.body.get("input", [])
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        entries += reading.entries(items)
        instructions = exchange.body.get("instructions")
        lead = Entry("system", [new_part("text", text=instructions)] if instructions else [])
        if exchange.body.get("tools"):
            lead.parts.append(tools_part([_tool(tool) for tool in exchange.body["tools"]]))
        whole = [lead, *entries] if lead.parts else entries
        answer = _answer_of(exchange)
        if answer.get("id"):
            self._held[answer["id"]] = [*whole, *reading.entries(answer["output"])]
        return whole


def _answer_of(exchange: Exchange) -> dict[str, Any]:
    """Return the whole response of an exchange."""
    whole: dict[str, Any] = {}
    for event in exchange.events:
        whole = event if event.get("object") == "response" else event.get("response") or whole
    return {**whole, "output": whole.get("output") or []}


def _tool(tool: dict[str, Any]) -> Tool:
    if tool["type"] == "function" and tool.keys() == {"type", "name", "description", "parameters", "strict"}:
        return Tool(tool["name"], tool["description"], tool["parameters"], tool["strict"])
    name = tool.get("name") or tool.get("server_label") or tool["type"]
    return Tool(name, native={"openai-responses": tool})


class _Reading:
    def __init__(self, conversation: Conversation, place: Place) -> None:
        self._conversation = conversation
        self._place = place

    def entries(self, items: list[dict[str, Any]]) -> list[Entry]:
        entries: list[Entry] = []
        for item in items:
            kind = item.get("type") or "message"
            role = self._role(item, kind)
            is_own = role in ("user", "system") or not entries or entries[-1].role != role
            if is_own:
                entries.append(Entry(role))
            self._add(entries[-1], item, kind)
        return entries

    @staticmethod
    def _role(item: dict[str, Any], kind: str) -> str:
        if kind == "message":
            return {"developer": "system"}.get(item["role"], str(item["role"]))
        return "tool" if kind == "function_call_output" else "assistant"

    def _add(self, entry: Entry, item: dict[str, Any], kind: str) -> None:
        match kind:
            case "message":
                self._message(entry, item)
            case "reasoning":
                self._seal(entry, kind, item)
                said = [part["text"] for part in (*item["summary"], *(item.get("content") or ()))]
                entry.parts.append(new_part("reasoning", text="\n\n".join(said)))
            case "function_call":
                plain = {"type", "call_id", "name", "arguments"}
                self._seal(entry, kind, {k: v for k, v in item.items() if k not in plain and v is not None})
                keys = ("call_id", "name", "arguments")
                entry.parts.append(new_part("tool_call", **{key: item[key] for key in keys}))
            case "function_call_output":
                self._result(entry, item)
            case _:
                self._seal(entry, kind, item)
                entry.parts.append(new_part("opaque", kind=kind))

    def _message(self, entry: Entry, item: dict[str, Any]) -> None:
        content = item["content"]
        if entry.role == "assistant" and isinstance(content, list):
            bare = [{k: v for k, v in part.items() if k not in ("text", "logprobs")} for part in content]
            self._seal(entry, "message", {**item, "content": bare})
        for part in [{"type": "input_text", "text": content}] if isinstance(content, str) else content:
            self._part(entry, part)

    def _result(self, entry: Entry, item: dict[str, Any]) -> None:
        output = item["output"]
        inner = output if isinstance(output, list) else []
        said = "" if inner else output
        entry.parts.append(new_part("tool_result", call_id=item["call_id"], content=said, is_error=False))
        for part in inner:
            self._part(entry, part)

    def _part(self, entry: Entry, part: dict[str, Any]) -> None:
        if part["type"] in ("input_text", "output_text"):
            entry.parts.append(new_part("text", text=part["text"]))
            return
        made = self._media(part)
        if made is None:
            self._seal(entry, part["type"], part)
            made = new_part("opaque", kind=part["type"])
        entry.parts.append(made)

    def _media(self, part: dict[str, Any]) -> Part | None:
        url = part.get("image_url") or part.get("file_data") or part.get("file_url")
        if not isinstance(url, str):
            return None
        rest = {key: part[key] for key in ("detail",) if key in part}
        if url.startswith("data:"):
            head, _, coded = url.removeprefix("data:").partition(",")
            mime, name = head.removesuffix(";base64"), part.get("filename", "")
            made = self._conversation.attach_bytes(base64.b64decode(coded), mime=mime, name=name)
            return Part(made.id, made.type, {**made.content, **rest})
        mime = "image/*" if "image_url" in part else "application/pdf"
        return new_part("media", mime=mime, url=url, **rest)

    def _seal(self, entry: Entry, kind: str, item: dict[str, Any]) -> None:
        if item:
            entry.sealed.append((len(entry.parts), self._place.seal(kind, json.dumps(item))))
