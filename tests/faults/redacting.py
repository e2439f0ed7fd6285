"""
The program that redacts while a kill comes: ``python -m tests.faults.redacting``, served as ``workload`` is.

``DB HOW STATEMENT``: a conversation with secrets, a copy of them and a fork of it is written and brought
into a state; then a message is redacted and the store compacted. The kill comes at a statement.
"""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from crdt_conv import Conversation, Store
from tests.crdt_conv.store.test_erasure import compacted, conversation_in, log_only
from tests.faults.hindrances import Statements
from tests.faults.workload import serve, tell
from tests.replicas import copy_of


def here(conversation: Conversation, secret: str) -> None:
    """Redact on this device."""
    conversation.redact(secret)


def elsewhere(conversation: Conversation, secret: str) -> None:
    """Hear of a redaction."""
    other = copy_of(conversation)
    other.redact(secret)
    conversation.receive(other.encode(conversation.state_vector), "peer")


BEFORE: dict[str, Callable[[Store], None]] = {
    "log": log_only,
    "index": Store.reindex,
    "snapshot": compacted,
}
REDACT = {"here": here, "elsewhere": elsewhere}


def main(db: str, how: str, statement: str) -> None:
    """Run once."""
    before, _, who = how.partition(" ")
    statements = Statements(int(statement), 1000)
    try:
        with patch.object(sqlite3, "connect", statements.connect):
            store = Store(Path(db))
            conversation, secret = conversation_in(store)
            conversation.cherry_pick([secret])
            store.fork("c", "Aside")
            BEFORE[before](store)
            tell("opened", statements=statements.count)
            REDACT[who](conversation, secret)
            store.compact()
            store.close()
            tell("finished", statements=statements.count, size=0)
    except Exception:  # noqa: BLE001 - the other process shows it
        tell("broken", error=traceback.format_exc())


if __name__ == "__main__":
    serve(main)
