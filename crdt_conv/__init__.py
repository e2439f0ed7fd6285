"""
Canonical state of conversations with language models: the document, its graph, the store.

No network, no provider, no event loop. See ``docs/`` for the contracts.
"""

from crdt_conv.conversation import Conversation
from crdt_conv.errors import (
    CrdtConvError,
    InvalidMessage,
    MalformedUpdate,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreOwner,
    StoreReadOnly,
    StoreTooNew,
    UnknownBranch,
    UnknownConversation,
    UnknownMessage,
    UnknownRun,
    UsageError,
)
from crdt_conv.ids import ConversationId, MessageId, RunId, new_id
from crdt_conv.message import MAIN, Author, Message, Part
from crdt_conv.run import Run, Target
from crdt_conv.store import ConversationInfo, Store
from crdt_conv.views import Change, Log, Problems
from crdt_conv.writer import MessageWriter, new_part

__all__ = [
    "MAIN",
    "Author",
    "Change",
    "Conversation",
    "ConversationId",
    "ConversationInfo",
    "CrdtConvError",
    "InvalidMessage",
    "Log",
    "MalformedUpdate",
    "Message",
    "MessageId",
    "MessageWriter",
    "Part",
    "Problems",
    "Run",
    "RunId",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreLocked",
    "StoreMissing",
    "StoreOwner",
    "StoreReadOnly",
    "StoreTooNew",
    "Target",
    "UnknownBranch",
    "UnknownConversation",
    "UnknownMessage",
    "UnknownRun",
    "UsageError",
    "new_id",
    "new_part",
]
