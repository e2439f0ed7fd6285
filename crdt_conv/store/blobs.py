"""Which blobs are in use: told by the stored index where it is sure, else by the documents."""

from __future__ import annotations

import json
import re
from typing import Final

from crdt_conv.document import Document
from crdt_conv.engine import Engine, IndexStore
from crdt_conv.ids import ConversationId

GRACE_MS: Final = 24 * 3600 * 1000
"""A blob that nothing refers to is kept so long: its message may be on its way."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def collect_blobs(engine: Engine, index: IndexStore | None, *, at_ms: int) -> int:
    """
    Remove blobs that nothing refers to and that are older than a day, or were let go by a redaction.

    Returns:
        How many were removed; none while an update that has not come may refer to one.

    Raises:
        StoreError: The file can't be read or written.
    """
    if index is None:
        used, unsure = set[str](), {info.id for info in engine.conversations()}
    else:
        # Before and after: an index may be cleared, or made anew, while it is read here.
        unsure = set(index.unsure())
        used = index.blobs_in_use()
        unsure.update(index.unsure())
    for conversation in unsure:
        mentioned = _mentioned(engine, conversation)
        if mentioned is None:
            return 0
        used |= mentioned
    return engine.collect_blobs(used, before_ms=at_ms - GRACE_MS)


def _mentioned(engine: Engine, conversation: ConversationId) -> set[str] | None:
    """Return whatever in a conversation may name a blob, or nothing where more of it is to come."""
    document = Document(update for _, update in engine.read(conversation))
    if document.is_pending:
        return None
    return set(_SHA256.findall(json.dumps(document.read("messages"))))
