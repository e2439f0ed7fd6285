"""What stands in the log of a conversation, or is on its way there, and not in its index yet."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock


class Unapplied:
    """
    A set for each conversation that lacks something; nothing is kept of the others.

    May be used from several threads: one appends, and another applies what was appended.
    """

    def __init__(self) -> None:
        # Without it a set could be dropped as empty between being found and being added to.
        self._lock = Lock()
        self._of: dict[str, set[object]] = {}

    def __contains__(self, conversation: str) -> bool:
        return conversation in self._of

    def __len__(self) -> int:
        return len(self._of)

    def add(self, things: Iterable[tuple[str, object]]) -> None:
        """Note something for each of some conversations."""
        with self._lock:
            for conversation, thing in things:
                self._of.setdefault(conversation, set()).add(thing)

    def discard(self, things: Iterable[tuple[str, object]]) -> None:
        """Note that something is applied, or will never be."""
        with self._lock:
            for conversation, thing in things:
                left = self._of.get(conversation)
                if left is not None:
                    left.discard(thing)
                    if not left:
                        del self._of[conversation]

    def discard_everywhere(self, thing: object) -> None:
        """Discard something, whosesoever it is."""
        self.discard([(conversation, thing) for conversation in tuple(self._of)])

    def forget(self, conversation: str) -> None:
        """Forget a conversation that is gone."""
        with self._lock:
            self._of.pop(conversation, None)
