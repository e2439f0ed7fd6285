"""The store: one SQLite file by default, or whatever engine stands behind the seam."""

from crdt_conv.store.memory import MemoryEngine
from crdt_conv.store.sqlite.engine import SqliteEngine
from crdt_conv.store.store import Store

__all__ = ["MemoryEngine", "SqliteEngine", "Store"]
