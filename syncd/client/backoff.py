"""How long to wait before coming back."""

from __future__ import annotations

import random
from typing import Final

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 20.0


class Backoff:
    """Waits that double up to a longest one, each a little different."""

    def __init__(self) -> None:
        self._delay_s = FIRST_DELAY_S

    def next_s(self, *, was_settled: bool) -> float:
        """Return how long to wait after a connection; one on which all was settled ends the backoff."""
        # Only this ends it: a server may let everybody in, and close at once.
        self._delay_s = FIRST_DELAY_S if was_settled else min(self._delay_s * 2, LONGEST_DELAY_S)
        # Jitter: a thousand clients of a server that restarts must not come back as one.
        return self._delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
