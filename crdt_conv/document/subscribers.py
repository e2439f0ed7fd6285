"""Who is told of changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakMethod

T = TypeVar("T")


class Subscribers(Generic[T]):
    """Callbacks, told in the order in which they came."""

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[T], None]] = {}

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, callback: Callable[[T], None]) -> Callable[[], None]:
        """Tell ``callback`` from now on; returns the way to stop it."""
        # The way out knows a key, not the callback, whose owner may keep it: no cycle.
        key = object()
        self._callbacks[key] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(key, None)

        return unsubscribe

    def tell(self, change: T) -> None:
        """Call them all; they must not raise."""
        for callback in tuple(self._callbacks.values()):
            callback(change)


def weakly(method: Callable[[T], None]) -> Callable[[T], None]:
    """Return a callback that does not keep the method's object alive."""
    reference = WeakMethod(method)

    def callback(event: T) -> None:
        bound = reference()
        if bound is not None:
            bound(event)

    return callback


def unobserve(observed: list[tuple[Any, Any]]) -> None:
    """End what shared types tell: pairs of one and what ``observe`` returned."""
    for watched, subscription in observed:
        watched.unobserve(subscription)
