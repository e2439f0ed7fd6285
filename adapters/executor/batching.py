"""
Collecting tokens, so that a few updates a second carry many of them. Pure: times are arguments.

One update a token makes the log seven times the text; one every 30 ms, little more
than the text.
"""

from __future__ import annotations

BATCH_S = 0.03


class Batch:
    """Text that came and was not written yet, in runs of one part type."""

    def __init__(self, batch_s: float = BATCH_S) -> None:
        self._batch_s = batch_s
        self._runs: list[tuple[str, list[str]]] = []
        self._due_s: float | None = None
        self._is_first = True

    @property
    def due_s(self) -> float | None:
        """When it is to be written; nothing while it is empty."""
        return self._due_s

    def add(self, part_type: str, text: str, now_s: float) -> None:
        """Take in a piece. The first of all is due at once: somebody waits for it."""
        if not self._runs or self._runs[-1][0] != part_type:
            self._runs.append((part_type, []))
        self._runs[-1][1].append(text)
        if self._due_s is None:
            self._due_s = now_s if self._is_first else now_s + self._batch_s
        self._is_first = False

    def take(self) -> list[tuple[str, str]]:
        """Return ``(part type, text)`` in order, and be empty."""
        taken = [(part_type, "".join(pieces)) for part_type, pieces in self._runs]
        self._runs, self._due_s = [], None
        return taken
