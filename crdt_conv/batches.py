"""Which updates of a log are handled together: one by one takes longer, and all at once longer still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crdt_conv.errors import MalformedUpdate
from crdt_conv.updates import check_update, merge_updates

BUNDLED: Final = 512
"""So many updates are merged to be asked about together."""
BUNDLED_BYTES: Final = 64 * 1024
"""Updates up to this length are merged to be asked about; merging takes several times their size."""
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


def bundles(log: list[bytes]) -> Iterator[bytes]:
    """Yield the updates of a log, the small ones merged: asking each by itself takes longer than loading."""
    yield from (update for update in log if len(update) > BUNDLED_BYTES)
    small = [update for update in log if len(update) <= BUNDLED_BYTES]
    # Not all at once: pycrdt holds the interpreter in each call, and others wait for it.
    for first in range(0, len(small), BUNDLED):
        bundle = small[first : first + BUNDLED]
        try:
            yield merge_updates(bundle)
        except MalformedUpdate:
            yield merge_updates([update for update in bundle if is_update(update)])


def is_update(update: bytes) -> bool:
    """Whether bytes can be decoded."""
    try:
        check_update(update)
    except MalformedUpdate:
        return False
    return True
