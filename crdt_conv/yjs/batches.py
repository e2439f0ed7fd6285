"""Which updates of a log are applied together: one by one takes longer, and all at once longer still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.updates import check_update

APPLIED_BYTES: Final = 16 * 1024
"""What one transaction applies: at its end yrs joins a text's pieces, in time like their number's square."""


def batches(updates: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the updates in sequence, as many together as one transaction should apply."""
    batch, length = list[bytes](), 0
    for update in updates:
        if batch and length + len(update) > APPLIED_BYTES:
            yield batch
            batch, length = [], 0
        batch.append(update)
        length += len(update)
    if batch:
        yield batch


def is_update(update: bytes) -> bool:
    """Whether bytes can be decoded."""
    try:
        check_update(update)
    except MalformedUpdate:
        return False
    return True
