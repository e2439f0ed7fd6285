"""
Canonical state of conversations with language models: the document, its graph, the store.

No network, no provider, no event loop. See ``docs/`` for the contracts.
"""

from crdt_conv.conversation import Conversation
from crdt_conv.conversation.views import Branch, Change, Log
from crdt_conv.conversation.writer import MessageWriter, new_part
from crdt_conv.document.verify import Problem
from crdt_conv.engine import ConversationInfo, Found
from crdt_conv.errors import (
    ConversationDeleted,
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
from crdt_conv.messages.hidden import Destination, HiddenField, Validity, validity
from crdt_conv.messages.message import MAIN, Author, Message, Part
from crdt_conv.runs.run import Run, Target
from crdt_conv.store import MemoryEngine, Store
from crdt_conv.store.compaction import Compaction
from crdt_conv.store.damage import Damage
from crdt_conv.store.sqlite.recovery import Recovery, recover

__all__ = [
    "MAIN",
    "Author",
    "Branch",
    "Change",
    "Compaction",
    "Conversation",
    "ConversationDeleted",
    "ConversationId",
    "ConversationInfo",
    "CrdtConvError",
    "Damage",
    "Destination",
    "Found",
    "HiddenField",
    "InvalidMessage",
    "Log",
    "MalformedUpdate",
    "MemoryEngine",
    "Message",
    "MessageId",
    "MessageWriter",
    "Part",
    "Problem",
    "Recovery",
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
    "Validity",
    "new_id",
    "new_part",
    "recover",
    "validity",
]
