"""When a call is made again."""

from __future__ import annotations

import pytest

from adapters import ProviderUnavailable, RequestRefused
from adapters.errors import AdapterError
from adapters.executor.retries import MAX_ATTEMPTS, delay_s, is_worth_waiting

BUSY = ProviderUnavailable("busy")


@pytest.mark.parametrize(
    ("error", "attempts", "expected"),
    [
        (BUSY, 1, True),
        (BUSY, MAX_ATTEMPTS, False),
        (RequestRefused("no"), 1, False),
        (ProviderUnavailable("busy", retry_after_s=60.0), 1, True),
        (ProviderUnavailable("busy", retry_after_s=61.0), 1, False),
    ],
)
def test_what_is_worth_waiting_for(error: AdapterError, attempts: int, expected: object) -> None:
    """Only what may pass, not for ever, and not longer than a minute."""
    assert is_worth_waiting(error, attempts) is expected


@pytest.mark.parametrize(("attempts", "longest_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (9, 8.0)])
def test_delays_grow_and_differ(attempts: int, longest_s: float) -> None:
    """Twice as long each time, up to eight seconds, and not the same for everybody."""
    delays = {delay_s(BUSY, attempts) for _ in range(50)}
    assert all(longest_s * 0.75 <= delay <= longest_s for delay in delays)
    assert len(delays) > 1


def test_the_provider_knows_best() -> None:
    """What it said is waited for, to the tenth."""
    assert delay_s(ProviderUnavailable("busy", retry_after_s=0.25), 3) == 0.25
