"""Forks that are documents of their own: who is related to whom, and that a redaction reaches all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crdt_conv.conversation import Conversation
from crdt_conv.document.redaction import reaches_copies
from crdt_conv.ids import ConversationId, MessageId
from crdt_conv.messages.message import REDACTED


def family_of(conversation: str, origins: Mapping[str, str]) -> list[ConversationId]:
    """
    Return the conversations that share a history with one, over any number of forks.

    Args:
        conversation: The one.
        origins: What each fork was forked from.
    """
    here = {conversation}
    grown = bool(origins)
    while grown:
        near = {end for link in origins.items() if here & set(link) for end in link}
        grown = not near <= here
        here |= near
    return sorted(ConversationId(member) for member in here - {conversation})


def same_redactions(one: Conversation, other: Conversation, changed: Iterable[MessageId]) -> None:
    """Redact in each of two related conversations what is redacted in the other, of what changed."""
    for message_id in changed:
        if message_id in one and message_id in other:
            redacted = [each for each in (one, other) if each.graph[message_id].status == REDACTED]
            if len(redacted) == 1:
                copies = reaches_copies(redacted[0].document, message_id)
                one.redact(message_id, copies=copies)
                other.redact(message_id, copies=copies)
