"""The store: one SQLite file by default."""

from crdt_conv.store.sqlite import ConversationInfo, Row, SqliteLog
from crdt_conv.store.store import Store

__all__ = ["ConversationInfo", "Row", "SqliteLog", "Store"]
