"""
A conversation, from the bytes up: each class adds one concern to the one before.

``Replica`` (durable document and index) → ``Reading`` → ``Writing`` → ``Redacting``
→ ``Branching`` → ``Conversation``, the public name.
"""

from crdt_conv.conversation.conversation import Conversation

__all__ = ["Conversation"]
