"""
The graph of a conversation: what is placed, what waits, and the heads of branches.

Theory of operation. A message is *placed* once all its parents are, so a
message with a missing parent waits, with everything written on top of it, and
a cycle waits for ever: both are reported, neither can break what is placed.
Among placed messages parents come first, so nothing here can loop. Logs and
digests over what is placed are ``logs``'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from crdt_conv.errors import UnknownMessage
from crdt_conv.graph.logs import Logs, Placed
from crdt_conv.ids import MessageId
from crdt_conv.messages.node import Place

_Siblings = tuple[tuple[MessageId, ...], str]


class GraphNode(Placed, Protocol):
    """What the graph needs of a message."""

    @property
    def branch(self) -> str:
        """The branch it was written on."""

    @property
    def place(self) -> Place:
        """What the graph is built from. Immutable by contract; a stranger may change it."""

    @property
    def order(self) -> tuple[int, MessageId]:
        """The tie-break of contract 1: ``(created, id)``."""

    @property
    def is_reply(self) -> bool:
        """Whether it answers its parents, and so may have alternatives."""

    @property
    def is_complete(self) -> bool:
        """Whether it was written to its end."""

    @property
    def hidden_count(self) -> int:
        """How many hidden fields it carries."""


G = TypeVar("G", bound=GraphNode)


def _is_bound(message: GraphNode) -> bool:
    return message.is_reply and message.hidden_count > 0


def _all(replies: Sequence[G]) -> Sequence[G]:
    return replies


@dataclass(frozen=True, slots=True)
class Waiting(Generic[G]):
    """A message that can't be placed, and the parents that are not there (or wait themselves)."""

    message: G
    missing: tuple[MessageId, ...]


class Graph(Generic[G]):
    """An index over messages; holds no document and does no I/O."""

    def __init__(self, messages: Iterable[G], content: Callable[[G], bytes]) -> None:
        """
        Place what can be placed.

        Args:
            messages: In any order.
            content: The digest of one message's visible content, 32 bytes.
        """
        self._placed: dict[MessageId, G] = {}
        self._waiting: dict[MessageId, G] = {}
        self._waiters: defaultdict[MessageId, set[MessageId]] = defaultdict(set)
        self._leaves: defaultdict[str, set[MessageId]] = defaultdict(set)
        self._replies: defaultdict[_Siblings, list[MessageId]] = defaultdict(list)
        self._parents_of_any: set[MessageId] = set()
        self._newly_placed: set[MessageId] = set()
        self._bound: dict[MessageId, int] = {}
        self.logs = Logs(self._placed, content)
        placed, waiting = self._placed, self._waiting
        for message in messages:
            if message.id in placed or message.id in waiting:
                self.add(message)
                continue
            missing = next((parent for parent in message.parents if parent not in placed), None)
            if missing is None:
                self._place(message)
            else:
                waiting[message.id] = message
                self._waiters[missing].add(message.id)
        # Not while they come: a document tells of them in any order.
        for message_id in tuple(self._waiters):
            if message_id in placed:
                self._release(message_id)
        self._newly_placed.clear()

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._placed

    def __len__(self) -> int:
        return len(self._placed)

    def __iter__(self) -> Iterator[G]:
        return iter(self._placed.values())

    def __getitem__(self, message_id: str) -> G:
        try:
            return self._placed[MessageId(message_id)]
        except KeyError:
            raise UnknownMessage(message_id) from None

    @property
    def branches(self) -> set[str]:
        """The branches that a placed message was written on."""
        return set(self._leaves)

    def has_branch(self, branch: str) -> bool:
        """Whether a placed message was written on a branch."""
        return bool(self._leaves.get(branch))

    @property
    def latest(self) -> int:
        """The latest ``created`` of all messages, those that wait included; -1 without any."""
        return max((m.order[0] for m in (*self._placed.values(), *self._waiting.values())), default=-1)

    def find(self, message_id: MessageId) -> G | None:
        """Return a message that is placed, or waits."""
        return self._placed.get(message_id) or self._waiting.get(message_id)

    def is_waiting(self, message_id: str) -> bool:
        """Whether a message waits for a parent."""
        return message_id in self._waiting

    def is_continued(self, message_id: str) -> bool:
        """Whether something was written on top of a message on its own branch."""
        message = self[message_id]
        return message.id not in self._leaves[message.branch]

    def waiting(self) -> list[Waiting[G]]:
        """Return what can't be placed yet, oldest first."""
        return [
            Waiting(message, tuple(p for p in message.parents if p not in self._placed))
            for message in sorted(self._waiting.values(), key=lambda m: m.order)
        ]

    # Changes

    def add(self, message: G) -> bool:
        """
        Take in a message, or its new content.

        Returns:
            Whether the index could take it. ``False``: its place changed, which
            the contract forbids, and the caller must build a new graph.
        """
        known = self.find(message.id)
        if known is None:
            self._waiting[message.id] = message
            self._place_from(message.id)
            return True
        if known.place != message.place:
            return False
        self._replace(message)
        return True

    def take_placed(self) -> set[MessageId]:
        """Return what was placed since this was last asked: also what had waited for a parent."""
        placed, self._newly_placed = self._newly_placed, set()
        return placed

    def _replace(self, message: G) -> None:
        if message.id in self._waiting:
            self._waiting[message.id] = message
            return
        if _is_bound(self._placed[message.id]) != _is_bound(message):
            self._bound.clear()
        self._placed[message.id] = message
        self.logs.forget(message.id, has_children=message.id in self._parents_of_any)

    def _place_from(self, message_id: MessageId) -> None:
        """Place a waiting message if it can be, then whoever waited for it."""
        ready = [message_id]
        while ready:
            message = self._waiting.get(ready.pop())
            if message is None:
                continue
            missing = [parent for parent in message.parents if parent not in self._placed]
            if missing:
                self._waiters[missing[0]].add(message.id)
                continue
            del self._waiting[message.id]
            self._place(message)
            ready.extend(self._waiters.pop(message.id, ()))

    def _release(self, message_id: MessageId) -> None:
        """Place whoever waited for a message, if it can be."""
        for waiter in self._waiters.pop(message_id, ()):
            self._place_from(waiter)

    def _place(self, message: G) -> None:
        message_id, branch, parents = message.id, message.branch, message.parents
        self._placed[message_id] = message
        self._newly_placed.add(message_id)
        leaves = self._leaves[branch]
        leaves.add(message_id)
        # A parent is a leaf of its own branch alone.
        leaves.difference_update(parents)
        self._parents_of_any.update(parents)
        if message.is_reply:
            self._replies[parents, branch].append(message_id)

    # Logs

    def lin(self, *heads: str) -> list[G]:
        """
        Return the log under some heads, each head's log adding what is not there yet.

        Raises:
            UnknownMessage: A head is not placed.
        """
        placed = self._placed
        return [placed[message_id] for message_id in self.lin_ids(*heads)]

    def lin_ids(self, *heads: str) -> list[MessageId]:
        """Return the ids of ``lin``; raises as it does."""
        return self.logs.lin([self[head].id for head in heads])

    def digest(self, message_id: str) -> bytes:
        """
        Return the digest of ``lin(message_id)``: 32 bytes.

        Raises:
            UnknownMessage: The message is not placed.
        """
        return self.logs.digest(self[message_id].id)

    def digest_of(self, heads: Sequence[str]) -> bytes:
        """Return the digest of the log under several heads: ``fold(lin(*heads))``."""
        return self.logs.digest_of([self[head].id for head in heads])

    # Heads

    def heads(
        self, branch: str, choices: Mapping[str, object], settle: Callable[[Sequence[G]], Sequence[G]] = _all
    ) -> list[G]:
        """
        Return a branch's messages with no child on it, less alternatives, by ``(created, id)``.

        Args:
            branch: A branch name; one nobody wrote on has no heads.
            choices: The ``choices`` root: message id to the reply chosen for it, or anything.
            settle: Leaves out, of several complete replies to one question, those that lost to another.
        """
        leaves = [self._placed[leaf] for leaf in self._leaves.get(branch, ())]
        # One question for all the alternatives to it: a fork may have hundreds.
        asked = {leaf.parents for leaf in leaves if leaf.is_reply}
        replies = {parents: self._reply(parents, branch, choices, settle) for parents in asked}
        heads = [leaf for leaf in leaves if self._is_head(leaf, replies)]
        return sorted(heads, key=lambda head: head.order)

    def alternatives(self, message_id: str) -> list[G]:
        """Return all replies to the same parents on the same branch, itself included, oldest first."""
        message = self[message_id]
        siblings = self._replies.get((message.parents, message.branch), [])
        return sorted((self._placed[sibling] for sibling in siblings), key=lambda m: m.order)

    def parents_for(self, heads: Iterable[G]) -> tuple[MessageId, ...]:
        """
        Order heads as the parents of a new message: most to lose first.

        What a log has to lose are its answered turns with hidden fields: providers
        bind those to the exact prefix, and only the first parent's log stays one.
        """
        ordered = sorted(heads, key=lambda head: head.order)
        if len(ordered) > 1:
            ordered.sort(key=lambda head: -self._bound_turns(head.id))
        return tuple(head.id for head in ordered)

    def _bound_turns(self, head: MessageId) -> int:
        """Return how many answered turns with hidden fields a log has; remembered, as digests are."""
        placed, known = self._placed, self._bound
        path = []
        while head not in known:
            path.append(head)
            if len(placed[head].parents) != 1:
                break
            head = placed[head].parents[0]
        for above in reversed(path):
            parents, own = placed[above].parents, _is_bound(placed[above])
            if len(parents) == 1:
                known[above] = known[parents[0]] + own
            else:
                known[above] = sum(map(_is_bound, self.lin(above))) if parents else int(own)
        return known[path[0] if path else head]

    def _reply(
        self,
        parents: tuple[MessageId, ...],
        branch: str,
        choices: Mapping[str, object],
        settle: Callable[[Sequence[G]], Sequence[G]],
    ) -> MessageId | None:
        """Return which of the complete replies to the same parents is the reply, if there is one."""
        replies = (self._placed[reply] for reply in self._replies[parents, branch])
        complete = {reply.id: reply for reply in replies if reply.is_complete}
        chosen = choices.get(parents[0]) if parents else None
        if isinstance(chosen, str) and chosen in complete:
            return MessageId(chosen)
        # Nearly always there is one; several are looked at closely.
        left = settle(list(complete.values())) if len(complete) > 1 else complete.values()
        return min(left, key=lambda reply: reply.order).id if left else None

    @staticmethod
    def _is_head(leaf: G, replies: Mapping[tuple[MessageId, ...], MessageId | None]) -> bool:
        if not leaf.is_reply:
            return True
        # A reply that is not complete is no head beside a complete one.
        return replies[leaf.parents] in {leaf.id, None}
