"""Which blobs are in use: told by the stored index where it is sure, else by the documents."""

from __future__ import annotations

import json
import re
from typing import Final

from crdt_conv.document.document import Document
from crdt_conv.engine import Engine, IndexStore
from crdt_conv.store.compaction import named_blobs

GRACE_MS: Final = 24 * 3600 * 1000
"""A blob that nothing refers to is kept so long: its message may be on its way."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def collect_blobs(engine: Engine, index: IndexStore | None, *, at_ms: int) -> int:
    """
    Remove blobs that nothing refers to and that are older than a day, or were let go by a redaction.

    While an update of some conversation waits for another, only what was let go is removed: the
    one that has not come may refer to any other.

    Returns:
        How many were removed.

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
    before_ms = at_ms - GRACE_MS
    for conversation in unsure:
        document = Document(update for _, update in engine.read(conversation))
        used.update(_SHA256.findall(json.dumps(document.read("messages"))), named_blobs(document.left_over))
        if document.is_pending:
            before_ms = 1
    return engine.collect_blobs(used, before_ms=before_ms)
