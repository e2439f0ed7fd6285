"""Reading recorded requests of Chat Completions."""

from __future__ import annotations

import base64
import json
from typing import Any

from adapters.exchange import Tool
from adapters.exchange.tools import tools_part
from adapters.openai_chat import OpenAIChat
from crdt_conv import Conversation, Part, Target, new_part
from tests.recorded.files import Exchange
from tests.recorded.replay import Entry

# The recordings name providers, not hosts.
URLS = {
    "bedrock-mantle": "https://bedrock-mantle.us-east-1.api.aws",
    "cerebras": "https://api.cerebras.ai",
    "deepseek": "https://api.deepseek.com",
    "google-openai": "https://generativelanguage.googleapis.com",
    "groq": "https://api.groq.com",
    "huggingface": "https://router.huggingface.co",
    "mistral": "https://api.mistral.ai",
    "openai": "https://api.openai.com",
    "openrouter": "https://openrouter.ai",
    "snowflake": "https://mine.snowflakecomputing.com",
    "zai": "https://api.z.ai",
}
OURS = {"messages", "model", "tools", "stream", "stream_options", "n"}


class ChatReader:
    """Reads requests of Chat Completions."""

    def adapter(self, exchange: Exchange) -> OpenAIChat:
        path = exchange.path.removesuffix("/chat/completions")
        host = URLS.get(exchange.provider, f"https://{exchange.provider}.example")
        return OpenAIChat("any", base_url=f"{host}{path}", api_key="key")

    def target(self, exchange: Exchange) -> Target:
        params = {key: value for key, value in exchange.body.items() if key not in OURS}
        return Target("openai-chat", exchange.body["model"], params=params)

    def history(self, exchange: Exchange, conversation: Conversation) -> list[Entry]:
        messages = list(exchange.body["messages"])
        lead: list[Entry] = []
        while messages and messages[0]["role"] in ("system", "developer"):
            lead.append(Entry("system", _text_parts(messages.pop(0)["content"])))
        tools = exchange.body.get("tools")
        if tools:
            lead = lead or [Entry("system")]
            lead[0].parts.append(tools_part([_tool(tool, exchange.provider) for tool in tools]))
        return [*lead, *(_entry(message, exchange, conversation) for message in messages)]


def _tool(tool: dict[str, Any], provider: str) -> Tool:
    function = tool.get("function")
    keys = {"name", "description", "parameters", "strict"}
    if isinstance(function, dict) and tool.keys() == {"type", "function"} and function.keys() <= keys:
        return Tool(**function)
    name = function["name"] if isinstance(function, dict) else tool["type"]
    return Tool(name, native={provider: tool})


def _entry(message: dict[str, Any], exchange: Exchange, conversation: Conversation) -> Entry:
    role = message["role"]
    if role == "tool":
        result = new_part(
            "tool_result", call_id=message["tool_call_id"], content=message["content"], is_error=False
        )
        return Entry("tool", [result])
    entry = Entry("system" if role == "developer" else role)
    content = message.get("content")
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
        _add_part(entry, part, exchange, conversation)
    for call in message.get("tool_calls") or ():
        function = call["function"]
        entry.parts.append(
            new_part("tool_call", call_id=call["id"], name=function["name"], arguments=function["arguments"])
        )
    return entry


def _add_part(entry: Entry, part: dict[str, Any], exchange: Exchange, conversation: Conversation) -> None:
    if part["type"] == "text":
        if part["text"]:
            entry.parts.append(new_part("text", text=part["text"]))
        return
    made = _media(part, conversation)
    if made is None:
        adapter = ChatReader().adapter(exchange)
        place = adapter.place(Target(adapter.name, exchange.body["model"]))
        seal = place.seal(part["type"], json.dumps(part))
        made = new_part("opaque", kind=part["type"])
        entry.sealed.append((len(entry.parts), seal))
    entry.parts.append(made)


def _media(part: dict[str, Any], conversation: Conversation) -> Part | None:
    """Return a part for what our own documents can hold."""
    kind = part["type"]
    if kind == "input_audio":
        sound = part[kind]
        data = base64.b64decode(sound["data"])
        return conversation.attach_bytes(data, mime={"mp3": "audio/mpeg"}.get(sound["format"], "audio/wav"))
    if kind == "file" and "file_data" in part["file"]:
        return _attached(part["file"]["file_data"], conversation, part["file"].get("filename", ""))
    if kind in ("image_url", "video_url") and isinstance(part[kind], dict):
        url, rest = part[kind]["url"], {key: value for key, value in part[kind].items() if key != "url"}
        made = _attached(url, conversation, "") if url.startswith("data:") else None
        mime = "image/*" if kind == "image_url" else "video/*"
        made = made or new_part("media", mime=mime, url=url)
        return Part(made.id, made.type, {**made.content, **rest})
    return None


def _attached(url: str, conversation: Conversation, name: str) -> Part:
    head, _, coded = url.removeprefix("data:").partition(",")
    return conversation.attach_bytes(base64.b64decode(coded), mime=head.removesuffix(";base64"), name=name)


def _text_parts(content: Any) -> list[Part]:
    parts = [{"text": content}] if isinstance(content, str) else content
    return [new_part("text", text=part["text"]) for part in parts]
