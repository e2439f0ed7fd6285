"""
Group commit: many updates, one fsync, by a worker beside the event loop.

While one group is on its way to the disk the next one gathers; what one document
got meanwhile goes into the log as one merged update. Each document hears of its
group once it is durable, in the order in which it came, or of the error that kept
it from being durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import anyio

from crdt_conv import ConversationDeleted, MalformedUpdate, StoreError
from crdt_conv.engine import Row
from crdt_conv.ids import ConversationId
from crdt_conv.yjs.coalesce import merge_written
from syncd.rooms.worker import ThreadWorker, Worker

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Committed(NamedTuple):
    """One update of the log, which holds several that were submitted."""

    seq: int
    update: bytes


Result: TypeAlias = Committed | StoreError


class Target(Protocol[T_contra]):
    """What updates are submitted for: one document."""

    @property
    def id(self) -> ConversationId:
        """The document's id."""

    def committed(self, submitted: Sequence[tuple[bytes, T_contra]], result: Result) -> None:
        """Hear that updates are durable, or why not. Must not raise."""


class GroupCommit(Generic[T]):
    """A queue in front of a store's log. Used from one event loop."""

    def __init__(
        self,
        append: Callable[[Sequence[Row]], Sequence[int]],
        make_worker: Callable[[], Worker] = ThreadWorker,
    ) -> None:
        """
        Make an idle queue.

        Args:
            append: Makes rows durable, blocking; called by the worker.
            make_worker: Makes the worker when ``run`` begins.
        """
        self._append = append
        self._queue: dict[Target[T], list[tuple[bytes, T]]] = {}
        self._under_way: list[tuple[Target[T], list[tuple[bytes, T]], bytes]] = []
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._is_closed = False
        self.count = 0
        self.spent_s = 0.0
        self.has_failed = False
        self._ended = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many updates are not on disk yet."""
        gathered = sum(map(len, self._queue.values()))
        return gathered + sum(len(submitted) for _, submitted, _ in self._under_way)

    def submit(self, target: Target[T], update: bytes, sender: T) -> None:
        """Queue an update that was checked; ``target`` hears of it together with ``sender``."""
        waiting = self._queue.get(target)
        if waiting is None:
            self._queue[target] = [(update, sender)]
            self._begin()
        else:
            waiting.append((update, sender))

    def _begin(self) -> None:
        """Hand what has gathered to the worker, unless it is busy."""
        if self._under_way or not self._queue or self._worker is None:
            return
        queue, self._queue = self._queue, {}
        for target, submitted in queue.items():
            self._under_way.extend((target, *group) for group in _merged(submitted))
        rows = [Row(target.id, update) for target, _, update in self._under_way]
        self._worker.submit(lambda: self._commit(rows), self._done)

    def _done(self, results: Sequence[int | StoreError]) -> None:
        groups, self._under_way = self._under_way, []
        # The disk first: the worker is busy while we tell everybody.
        self._begin()
        for (target, submitted, update), result in zip(groups, results, strict=True):
            target.committed(submitted, Committed(result, update) if isinstance(result, int) else result)
        if self._is_closed and not self._under_way:
            self._ended.set()

    def _commit(self, rows: Sequence[Row]) -> Sequence[int | StoreError]:
        """Commit a group; called by the worker."""
        began_s = time.perf_counter()
        results = self._append_all(rows)
        self.count += 1
        self.spent_s += time.perf_counter() - began_s
        self.has_failed = any(map(_is_failure, results))
        return results

    def _append_all(self, rows: Sequence[Row]) -> Sequence[int | StoreError]:
        try:
            return self._append(rows)
        except ConversationDeleted as error:
            # One document's fate is not that of the others in its group.
            return [error] if len(rows) == 1 else [self._append_all([row])[0] for row in rows]
        except StoreError as error:
            return [error] * len(rows)
        except Exception as error:  # noqa: BLE001 - the worker must outlive whatever an engine raises
            return [StoreError(f"the store failed: {type(error).__name__}: {error}")] * len(rows)

    async def run(self) -> None:
        """Commit what comes, until closed and empty. Can't be cancelled: what is queued will be on disk."""
        self._worker = self._make_worker()
        self._begin()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()
        self._worker.close()

    def close(self) -> None:
        """Let ``run`` end when the queue is empty."""
        self._is_closed = True
        if not self._under_way and not self._queue:
            self._ended.set()


def _is_failure(result: int | StoreError) -> bool:
    return isinstance(result, StoreError) and not isinstance(result, ConversationDeleted)


def _merged(submitted: list[tuple[bytes, T]]) -> list[tuple[list[tuple[bytes, T]], bytes]]:
    """Return groups of updates, each with the update that holds all of them."""
    if len(submitted) == 1:
        return [(submitted, submitted[0][0])]
    try:
        return [(submitted, merge_written([update for update, _ in submitted]))]
    except MalformedUpdate:
        return [([one], one[0]) for one in submitted]
