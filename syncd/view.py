"""Conversations as JSON: what ``conv show --json`` and the HTTP API print."""

from __future__ import annotations

import base64
from typing import Any

from crdt_conv import MAIN, Conversation, ConversationInfo, HiddenField, Message
from crdt_conv.messages.fields import ordered
from crdt_conv.store.compaction import Compaction


def message_json(conversation: Conversation, message: Message, *, hidden: bool = False) -> dict[str, Any]:
    """Return one message with its digest, and with its hidden fields where they are asked for."""
    shown = message.as_json() | {"digest": conversation.digest(message.id).hex()}
    if hidden:
        shown["hidden"] = [hidden_json(field) for field in conversation.hidden(message.id)]
    return shown


def hidden_json(field: HiddenField) -> dict[str, Any]:
    """Return a hidden field: JSON as ``data``, bytes as ``data_base64``, neither where a blob is missing."""
    values = {name: ordered(getattr(field, name)) for name in field.__slots__}
    if isinstance(field.data, bytes):
        values["data_base64"] = base64.b64encode(field.data).decode()
        del values["data"]
    return {key: value for key, value in values.items() if value is not None}


def conversation_json(
    conversation: Conversation, branch: str = MAIN, *, hidden: bool = False
) -> dict[str, Any]:
    """
    Return the log of a branch; with the hidden fields of its messages where they are asked for.

    Raises:
        UnknownBranch: There is none of this name.
    """
    log = conversation.log(branch)
    return {
        "id": conversation.id,
        "title": conversation.title,
        "branch": branch,
        "heads": [head.id for head in log.heads],
        "diverged": log.is_diverged,
        "digest": log.digest.hex(),
        "messages": [message_json(conversation, message, hidden=hidden) for message in log.messages],
    }


def info_json(info: ConversationInfo) -> dict[str, Any]:
    """Return one line of the list of conversations; times in milliseconds."""
    shown = {"id": info.id, "title": info.title, "created": info.created, "updated": info.updated}
    return {**shown, "archived": info.is_archived}


def branch_json(conversation: Conversation, name: str) -> dict[str, Any]:
    """
    Return a branch as people see it, and where it ends.

    Raises:
        UnknownBranch: There is none of this name.
    """
    branch = conversation.branch(name)
    heads = [head.id for head in conversation.heads(name)]
    return {"name": name, "title": branch.title, "archived": branch.is_archived, "heads": heads}


def compaction_json(done: Compaction) -> dict[str, Any]:
    """Return what became of a conversation's log, in bytes; ``reason`` says why nothing did."""
    before, after = (size.snapshot + size.updates for size in (done.before, done.after))
    return {"id": done.conversation, "before": before, "after": after, "reason": done.reason}
