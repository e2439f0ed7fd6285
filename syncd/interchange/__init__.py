"""
Other programs' conversations, in and out.

``conversations`` yields what is in a file, ``put_in`` writes one into a store. See ``records`` for
what nothing is dropped of, ``tree`` for how forks become branches, ``formats`` for the programs.
"""

from __future__ import annotations

from crdt_conv import Conversation, ConversationId
from syncd.interchange.exports import chat_line, markdown
from syncd.interchange.records import Findings, Imported, ImportRefused
from syncd.interchange.sources import Encoded, Found, conversations
from syncd.interchange.whole import decode_conversation, encode_conversation
from syncd.interchange.writing import Written, conversation_id, write

__all__ = [
    "Findings",
    "Found",
    "ImportRefused",
    "Written",
    "chat_line",
    "conversations",
    "encode_conversation",
    "id_of",
    "markdown",
    "put_in",
]


def id_of(found: Found) -> ConversationId:
    """Return the id under which a conversation of a file stands, or is to stand, in a store."""
    if isinstance(found, Imported):
        return conversation_id(found)
    return ConversationId(found.key if isinstance(found, Encoded) else str(found.get("id", "")))


def put_in(conversation: Conversation, found: Found, findings: Findings) -> Written:
    """
    Write what is new of a conversation of a file.

    Raises:
        ImportRefused: It is not what it says it is.
        MalformedUpdate: It is an encoded document, and no Yjs update.
        StoreError: It could not be made durable.
    """
    if isinstance(found, Imported):
        return write(conversation, found, findings)
    if isinstance(found, Encoded):
        before = len(conversation)
        conversation.receive(found.update)
        new = len(conversation) - before
        return Written(conversation.id, conversation.title, "ydoc", new, len(conversation.branches))
    return decode_conversation(conversation, found)
