"""Conversations for other programs and for people: Markdown, and chat-completions JSON lines."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from crdt_conv import MAIN, Conversation, Message, Part
from syncd.interchange.records import an_object, objects, parsed

_WHO = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}


def markdown(conversation: Conversation, branch: str = MAIN) -> str:
    """Return the log of a branch for people to read."""
    title = conversation.title or "Untitled"
    shown = [f"# {title}\n"]
    for message in conversation.log(branch).messages:
        if message.role != "merge":
            shown.append(_heading(message))
            shown += [_part(part) for part in message.parts]
    return "\n".join(shown).rstrip() + "\n"


def _heading(message: Message) -> str:
    who = message.author.name or message.model or _WHO.get(message.role, message.role)
    status = "" if message.is_complete else f" ({message.status})"
    at = datetime.fromtimestamp(min(message.created, 253_402_300_799_000) / 1000, UTC)
    return f"## {_WHO.get(message.role, message.role)}: {who}{status}\n\n*{at:%Y-%m-%d %H:%M} UTC*\n"


def _part(part: Part) -> str:
    content = part.content
    match part.type:
        case "text" | "summary":
            return f"{part.text}\n"
        case "reasoning":
            quoted = "\n".join(f"> {line}" for line in part.text.splitlines())
            return f"> *Reasoning*\n>\n{quoted}\n" if quoted else ""
        case "tool_call":
            arguments = _fenced(str(content.get("arguments", "")), "json")
            return f"**Call** `{content.get('name', '')}`\n\n{arguments}"
        case "tool_result":
            said = content.get("content", "")
            text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, indent=2)
            return f"**{'Error' if content.get('is_error') is True else 'Result'}**\n\n{_fenced(text)}"
        case "media":
            return f"*Attached: {content.get('name') or content.get('mime', 'a file')}*\n"
        case _:
            return ""


def _fenced(text: str, language: str = "") -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}\n"


def chat_line(conversation: Conversation, branch: str = MAIN) -> str:
    """Return the log of a branch as one line of chat-completions JSON, as people fine-tune with."""
    log = conversation.log(branch).messages
    said = (message for message in log if message.role != "merge")
    messages = [entry for message in said for entry in _chat(conversation, message)]
    line: dict[str, Any] = {"id": conversation.id, "title": conversation.title, "messages": messages}
    tools = [tool for message in log for part in message.parts for tool in _tools(part)]
    return json.dumps(line | ({"tools": tools} if tools else {}), ensure_ascii=False) + "\n"


def _tools(part: Part) -> list[dict[str, Any]]:
    """Return definitions of tools as OpenAI has them."""
    if part.type != "tools":
        return []
    found = []
    for tool in objects(parsed(part.content.get("definitions"))):
        native = an_object(tool.get("native")).get("openai")
        found.append(native if isinstance(native, dict) else {"type": "function", "function": tool})
    return found


def _chat(conversation: Conversation, message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [_result(part) for part in message.parts if part.type == "tool_result"]
    reasoning = "".join(part.text for part in message.parts if part.type == "reasoning")
    calls = [_call(part) for part in message.parts if part.type == "tool_call"]
    text = message.text or "".join(part.text for part in message.parts if part.type == "summary")
    pictures = _pictures(conversation, message) if message.role == "user" else []
    if not (text or reasoning or calls or pictures):
        return []
    entry: dict[str, Any] = {"role": message.role, "content": text or None}
    if pictures:
        entry["content"] = [*([{"type": "text", "text": text}] if text else []), *pictures]
    if reasoning:
        entry["reasoning_content"] = reasoning
    if calls:
        entry["tool_calls"] = calls
    return [entry]


def _pictures(conversation: Conversation, message: Message) -> list[dict[str, Any]]:
    """Return pictures as data URLs, the one way in which a line can carry them."""
    found = []
    for part in message.parts:
        mime, sha256 = str(part.content.get("mime") or ""), part.content.get("sha256")
        is_picture = part.type == "media" and mime.startswith("image/") and isinstance(sha256, str)
        data = conversation.blob(str(sha256)) if is_picture else None
        if data is not None:
            url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
            found.append({"type": "image_url", "image_url": {"url": url}})
    return found


def _call(part: Part) -> dict[str, Any]:
    function = {"name": part.content.get("name", ""), "arguments": part.content.get("arguments", "")}
    return {"id": part.content.get("call_id", ""), "type": "function", "function": function}


def _result(part: Part) -> dict[str, Any]:
    said = part.content.get("content", "")
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return {"role": "tool", "tool_call_id": part.content.get("call_id", ""), "content": text}
