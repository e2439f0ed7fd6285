"""Conversations as JSON: what ``conv show --json`` and the HTTP API print."""

from __future__ import annotations

from typing import Any

from crdt_conv import MAIN, Conversation, ConversationInfo, Message
from crdt_conv.store.compaction import Compaction


def message_json(conversation: Conversation, message: Message) -> dict[str, Any]:
    """Return one message with its digest."""
    return message.as_json() | {"digest": conversation.digest(message.id).hex()}


def conversation_json(conversation: Conversation, branch: str = MAIN) -> dict[str, Any]:
    """
    Return the log of a branch.

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
        "messages": [message_json(conversation, message) for message in log.messages],
    }


def info_json(info: ConversationInfo) -> dict[str, Any]:
    """Return one line of the list of conversations; times in milliseconds."""
    return {"id": info.id, "title": info.title, "created": info.created, "updated": info.updated}


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
