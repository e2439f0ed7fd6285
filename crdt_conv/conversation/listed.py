"""What the list shows of a conversation, read from its ``meta``, where strangers write anything."""

from __future__ import annotations

from crdt_conv.engine import Listed
from crdt_conv.ids import ConversationId
from crdt_conv.messages.fields import Json


def listed_of(conversation: ConversationId, meta: Json) -> Listed:
    """Return what the list is to show."""
    title, origin = meta.get("title"), meta.get("forked_from")
    # A fork that was merged back brings its own mark along.
    is_fork = isinstance(origin, str) and origin != conversation
    return Listed(
        title if isinstance(title, str) else "",
        ConversationId(origin) if is_fork else None,
        is_archived=meta.get("archived") is True,
    )
