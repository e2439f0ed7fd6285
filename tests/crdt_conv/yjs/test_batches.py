"""Which updates of a log are handled together."""

from __future__ import annotations

import pytest

from crdt_conv.yjs.batches import APPLIED_BYTES, batches


@pytest.mark.parametrize("size", [1, APPLIED_BYTES // 3, APPLIED_BYTES, APPLIED_BYTES + 1])
def test_no_update_is_lost_or_moved(size: int) -> None:
    """A transaction applies what fits, and a longer update by itself."""
    updates = [bytes([number]) * size for number in range(100)]
    several = list(batches(updates))
    assert [update for batch in several for update in batch] == updates
    assert all(len(batch) == max(1, min(100, APPLIED_BYTES // size)) for batch in several[:-1])


def test_of_nothing_there_are_none() -> None:
    """No transaction for an empty log."""
    assert list(batches([])) == []
