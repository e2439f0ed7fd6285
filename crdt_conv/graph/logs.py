"""
Logs and digests over placed messages, remembered so that one more costs one more step.

``lin(m)``, the log as m saw it, is the depth-first post-order of m's ancestry
that visits ``parents`` in their order: ``lin(parents[0])``, then what each
further parent's log adds, in that log's order, then m. It depends on immutable
fields of m's ancestors alone, so it never changes.

Theory of operation. The log of a child starts with the whole log of its first
parent, so logs are kept as *chains*: a list of ids in which a message that was
asked for is known by its position, its own log being everything up to there. A
child of the last message of a chain is appended to it; a child of an earlier
one begins a chain of its own, with a copy. Digests are folds over logs, kept
for each message on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

from crdt_conv.graph.digest import EMPTY, fold
from crdt_conv.ids import MessageId


class Placed(Protocol):
    """What logs need of a message."""

    @property
    def id(self) -> MessageId:
        """Its key."""

    @property
    def parents(self) -> tuple[MessageId, ...]:
        """What it was written on top of."""


N = TypeVar("N", bound=Placed)


class _Chain:
    """A log that may still grow at its end."""

    def __init__(self, order: list[MessageId]) -> None:
        self.order = order
        self._members: set[MessageId] = set()
        self._counted = 0

    def up_to(self, length: int) -> _Chain:
        """Return this chain if it is so long, else a copy of its beginning."""
        return self if length == len(self.order) else _Chain(self.order[:length])

    def members(self) -> set[MessageId]:
        """Return what is in it; made when first asked for, since most chains never merge."""
        self._members.update(islice(self.order, self._counted, None))
        self._counted = len(self.order)
        return self._members


class Logs(Generic[N]):
    """Logs and digests over a mapping of placed messages, which only grows."""

    def __init__(self, placed: Mapping[MessageId, N], content: Callable[[N], bytes]) -> None:
        """
        Begin with nothing remembered.

        Args:
            placed: Every message whose parents are all in it.
            content: The digest of one message's visible content, 32 bytes.
        """
        self._placed = placed
        self._content = content
        self._places: dict[MessageId, tuple[_Chain, int]] = {}
        self._contents: dict[MessageId, bytes] = {}
        self._digests: dict[MessageId, bytes] = {}

    def remember(self, contents: Iterable[tuple[MessageId, bytes]]) -> None:
        """Take content digests that were computed before."""
        self._contents.update(contents)

    def content(self, message_id: MessageId) -> bytes:
        """Return the digest of one message's visible content."""
        content = self._contents.get(message_id)
        if content is None:
            content = self._contents[message_id] = self._content(self._placed[message_id])
        return content

    def forget(self, message_id: MessageId, *, has_children: bool) -> None:
        """Forget what depends on a message's content, which changed; its place did not."""
        self._contents.pop(message_id, None)
        if has_children:
            # Every descendant's digest covers it; this is rare (a redaction).
            self._digests.clear()
        self._digests.pop(message_id, None)

    # Logs

    def lin(self, heads: Sequence[MessageId]) -> list[MessageId]:
        """Return the ids of the log under some placed heads, each head's log adding what is not there yet."""
        if not heads:
            return []
        chain, at = self._place_of(heads[0])
        log = chain.order[: at + 1]
        return log + self._added(log, heads[1:]) if len(heads) > 1 else log

    def length(self, message_id: MessageId) -> int:
        """Return how many messages ``lin`` of a placed message has."""
        return self._place_of(message_id)[1] + 1

    def _place_of(self, message_id: MessageId) -> tuple[_Chain, int]:
        """Return a chain and where in it the message stands, its log being everything up to there."""
        place = self._places.get(message_id)
        if place is None:
            path = self._unknown(message_id, self._places)
            chain = self._chain_before(path[0])
            order, placed = chain.order, self._placed
            for above in path:
                parents = placed[above].parents
                if len(parents) > 1:
                    order.extend(self._walk(parents[1:], chain.members()))
                order.append(above)
            place = self._places[message_id] = chain, len(order) - 1
        return place

    def _chain_before(self, message_id: MessageId) -> _Chain:
        """Return a chain that ends with the first parent's log."""
        parents = self._placed[message_id].parents
        if not parents:
            return _Chain([])
        chain, at = self._places[parents[0]]
        return chain.up_to(at + 1)

    def _unknown(self, message_id: MessageId, known: Mapping[MessageId, object]) -> list[MessageId]:
        """Return a message and its first parents up to what is known, oldest first."""
        path = [message_id]
        while path[-1] not in known and (parents := self._placed[path[-1]].parents):
            path.append(parents[0])
        if path[-1] in known:
            path.pop()
        path.reverse()
        return path

    def _added(self, log: Iterable[MessageId], heads: Sequence[MessageId]) -> list[MessageId]:
        return self._walk(heads, set(log))

    def _walk(self, heads: Sequence[MessageId], seen: set[MessageId]) -> list[MessageId]:
        """Return what the logs of some heads add to what was seen, in order."""
        log: list[MessageId] = []
        taken: set[MessageId] = set()
        stack: list[tuple[MessageId, int]] = []
        for head in heads:
            stack.append((head, 0))
            while stack:
                message_id, turn = stack.pop()
                if turn == 0:
                    if message_id in seen or message_id in taken:
                        continue
                    taken.add(message_id)
                parents = self._placed[message_id].parents
                if turn == len(parents):
                    log.append(message_id)
                    continue
                stack.append((message_id, turn + 1))
                stack.append((parents[turn], 0))
        return log

    # Digests

    def digest(self, message_id: MessageId) -> bytes:
        """Return the digest of ``lin`` of a placed message: 32 bytes."""
        digests, placed = self._digests, self._placed
        if message_id not in digests:
            path = self._unknown(message_id, digests)
            parents = placed[path[0]].parents
            digest = digests[parents[0]] if parents else EMPTY
            is_merging = any(len(placed[above].parents) > 1 for above in path)
            # What further parents add is found once for all of them: the log of the last has all of it.
            steps = self._behind(message_id, parents[:1]) if is_merging else path
            on_path = set(path)
            for step in steps:
                digest = fold(digest, self._contents.get(step) or self.content(step))
                if step in on_path:
                    digests[step] = digest
        return digests[message_id]

    def _behind(self, message_id: MessageId, parents: Sequence[MessageId]) -> list[MessageId]:
        """Return what stands in a message's log behind one of its first ancestors, or all of it."""
        chain, end = self._place_of(message_id)
        begin = end
        while begin > 0 and chain.order[begin - 1] not in parents:
            begin -= 1
        return chain.order[begin : end + 1]

    def digest_of(self, heads: Sequence[MessageId]) -> bytes:
        """Return the digest of the log under several heads: ``fold(lin(*heads))``."""
        if not heads:
            return EMPTY
        digest = self.digest(heads[0])
        if len(heads) > 1:
            digest = self._fold(digest, self._added(self.lin(heads[:1]), heads[1:]))
        return digest

    def _fold(self, digest: bytes, log: Iterable[MessageId]) -> bytes:
        for message_id in log:
            digest = fold(digest, self.content(message_id))
        return digest
