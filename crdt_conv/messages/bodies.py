"""
Bodies: the visible content of messages as JSON that reads back as it was, for the stored index.

A body is a message less its ``Node``; null and empty values are left out.
"""

from __future__ import annotations

from typing import Any

from crdt_conv.messages.fields import Json
from crdt_conv.messages.message import Author, Message, parse_part
from crdt_conv.messages.node import Node


def body_of(message: Message) -> Json:
    """Return all that ``message_of`` needs besides the node."""
    body: dict[str, Json] = {
        "author": [message.author.kind, message.author.device, message.author.name],
        "parts": [part.as_json() for part in message.parts],
        "run": message.run,
        "model": message.model,
        "usage": message.usage,
        "stop_reason": message.stop_reason,
        "nonce": message.nonce.hex(),
    }
    return {key: value for key, value in body.items() if value not in (None, [], "")}


def message_of(node: Node, body: Json) -> Message:
    """Return the message that ``body_of`` and ``Message.node`` were taken from."""
    values: dict[str, Any] = body
    return Message(
        *node[:5],
        author=Author(*values["author"]),
        parts=tuple(parse_part(part) for part in values.get("parts", ())),
        status=node.status,
        run=values.get("run"),
        model=values.get("model"),
        usage=values.get("usage"),
        stop_reason=values.get("stop_reason"),
        nonce=bytes.fromhex(values.get("nonce", "")),
        hidden_count=node.hidden_count,
        blobs=node.blobs,
        source=node.source,
    )


def searchable(message: Message) -> str:
    """Return the visible text that full-text search finds a message by."""
    if message.status == "streaming":
        # Indexed once, when it has ended.
        return ""
    return "\n".join(text for part in message.parts for text in _texts(part.content))


def _texts(content: Any) -> list[str]:
    return [value for key in ("text", "content", "name") if isinstance(value := content.get(key), str)]
