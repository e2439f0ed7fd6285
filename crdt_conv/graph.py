"""
The graph of a conversation: logs, heads and what can't be placed.

Theory of operation. A message is *placed* once all its parents are, so a
message with a missing parent waits, with everything written on top of it, and
a cycle waits for ever: both are reported, neither can break what is placed.
Among placed messages parents come first, so nothing here can loop.

``lin(m)``, the log as m saw it, is the depth-first post-order of m's ancestry
that visits ``parents`` in their order: ``lin(parents[0])``, then what each
further parent's log adds, in that log's order, then m. It depends on immutable
fields of m's ancestors alone, so it never changes.

Digests are folds over logs, remembered for each message; the log of a child
starts with the log of its first parent, so one more message costs one more
step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from crdt_conv.digest import EMPTY, content_digest, fold
from crdt_conv.errors import UnknownMessage
from crdt_conv.ids import MessageId
from crdt_conv.message import Message

_Siblings = tuple[tuple[MessageId, ...], str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that can't be placed, and the parents that are not there (or wait themselves)."""

    message: Message
    missing: tuple[MessageId, ...]


class Graph:
    """An index over messages; holds no document and does no I/O."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._placed: dict[MessageId, Message] = {}
        self._waiting: dict[MessageId, Message] = {}
        self._waiters: defaultdict[MessageId, set[MessageId]] = defaultdict(set)
        self._leaves: defaultdict[str, set[MessageId]] = defaultdict(set)
        self._replies: defaultdict[_Siblings, list[MessageId]] = defaultdict(list)
        self._parents_of_any: set[MessageId] = set()
        self._digests: dict[MessageId, bytes] = {}
        self._contents: dict[MessageId, bytes] = {}
        self._newly_placed: set[MessageId] = set()
        for message in messages:
            self.add(message)
        self._newly_placed.clear()

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._placed

    def __len__(self) -> int:
        return len(self._placed)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._placed.values())

    def __getitem__(self, message_id: str) -> Message:
        try:
            return self._placed[MessageId(message_id)]
        except KeyError:
            raise UnknownMessage(message_id) from None

    @property
    def branches(self) -> set[str]:
        """The branches that a placed message was written on."""
        return set(self._leaves)

    def is_waiting(self, message_id: str) -> bool:
        """Whether a message waits for a parent."""
        return message_id in self._waiting

    def waiting(self) -> list[Waiting]:
        """Return what can't be placed yet, oldest first."""
        return [
            Waiting(message, tuple(p for p in message.parents if p not in self._placed))
            for message in sorted(self._waiting.values(), key=lambda m: m.order)
        ]

    # Changes

    def add(self, message: Message) -> bool:
        """
        Take in a message, or its new content.

        Returns:
            Whether the index could take it. ``False``: its place changed, which
            the contract forbids, and the caller must build a new graph.
        """
        known = self._placed.get(message.id) or self._waiting.get(message.id)
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

    def _replace(self, message: Message) -> None:
        if message.id in self._waiting:
            self._waiting[message.id] = message
            return
        self._placed[message.id] = message
        self._contents.pop(message.id, None)
        if message.id in self._parents_of_any:
            # Every descendant's digest covers it; this is rare (a redaction).
            self._digests.clear()
        self._digests.pop(message.id, None)

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

    def _place(self, message: Message) -> None:
        self._placed[message.id] = message
        self._newly_placed.add(message.id)
        self._leaves[message.branch].add(message.id)
        for parent in message.parents:
            self._parents_of_any.add(parent)
            if self._placed[parent].branch == message.branch:
                self._leaves[message.branch].discard(parent)
        if message.is_reply:
            self._replies[message.parents, message.branch].append(message.id)

    # Logs

    def lin(self, *heads: str, after: Iterable[str] = ()) -> list[Message]:
        """
        Return the log under some heads, each head's log adding what is not there yet.

        Args:
            heads: Message ids; one for ``lin(m)``.
            after: Messages taken as seen already, with all their ancestors.

        Raises:
            UnknownMessage: A head is not placed.
        """
        log: list[Message] = []
        seen = {MessageId(seen_id) for seen_id in after}
        for head in heads:
            stack = [(self[head], 0)]
            if MessageId(head) in seen:
                continue
            seen.add(MessageId(head))
            while stack:
                message, turn = stack.pop()
                if turn == len(message.parents):
                    log.append(message)
                    continue
                stack.append((message, turn + 1))
                parent = message.parents[turn]
                if parent not in seen:
                    seen.add(parent)
                    stack.append((self._placed[parent], 0))
        return log

    def digest(self, message_id: str) -> bytes:
        """
        Return the digest of ``lin(message_id)``: 32 bytes.

        Raises:
            UnknownMessage: The message is not placed.
        """
        chain: list[Message] = [self[message_id]]
        while chain[-1].id not in self._digests and chain[-1].parents:
            chain.append(self._placed[chain[-1].parents[0]])
        for message in reversed(chain):
            if message.id not in self._digests:
                self._digests[message.id] = self._digest_step(message)
        return self._digests[chain[0].id]

    def digest_of(self, heads: Sequence[str]) -> bytes:
        """Return the digest of the log under several heads: ``fold(lin(*heads))``."""
        if not heads:
            return EMPTY
        digest = self.digest(heads[0])
        return self._fold(digest, self._added(heads)) if len(heads) > 1 else digest

    def _digest_step(self, message: Message) -> bytes:
        first = self._digests[message.parents[0]] if message.parents else EMPTY
        added = self._added(message.parents) if len(message.parents) > 1 else []
        return self._fold(first, [*added, message])

    def _added(self, heads: Sequence[str]) -> list[Message]:
        """Return what the logs of the further heads add to the log of the first."""
        return self.lin(*heads[1:], after=[message.id for message in self.lin(heads[0])])

    def _fold(self, digest: bytes, log: Iterable[Message]) -> bytes:
        for message in log:
            content = self._contents.get(message.id)
            if content is None:
                content = self._contents[message.id] = content_digest(message)
            digest = fold(digest, content)
        return digest

    # Heads

    def heads(self, branch: str, choices: Mapping[str, str]) -> list[Message]:
        """
        Return a branch's messages with no child on it, less alternatives, by ``(created, id)``.

        Args:
            branch: A branch name; one nobody wrote on has no heads.
            choices: The ``choices`` root: message id to the reply chosen for it.
        """
        leaves = (self._placed[leaf] for leaf in self._leaves.get(branch, ()))
        return sorted((leaf for leaf in leaves if self._is_head(leaf, choices)), key=lambda m: m.order)

    def alternatives(self, message_id: str) -> list[Message]:
        """Return all replies to the same parents on the same branch, itself included, oldest first."""
        message = self[message_id]
        siblings = self._replies.get((message.parents, message.branch), [])
        return sorted((self._placed[sibling] for sibling in siblings), key=lambda m: m.order)

    def parents_for(self, heads: Iterable[Message]) -> tuple[MessageId, ...]:
        """
        Order heads as the parents of a new message: most to lose first.

        What a log has to lose are its answered turns with hidden fields: providers
        bind those to the exact prefix, and only the first parent's log stays one.
        """
        ordered = sorted(heads, key=lambda head: head.order)
        if len(ordered) > 1:
            ordered.sort(key=lambda head: -self._bound_turns(head.id))
        return tuple(head.id for head in ordered)

    def _bound_turns(self, head: str) -> int:
        return sum(1 for message in self.lin(head) if message.is_reply and message.hidden_count)

    def _is_head(self, leaf: Message, choices: Mapping[str, str]) -> bool:
        if not leaf.is_reply:
            return True
        complete = [reply for reply in self.alternatives(leaf.id) if reply.is_complete]
        if not leaf.is_complete:
            return not complete
        chosen = choices.get(leaf.parents[0]) if leaf.parents else None
        reply = chosen if any(chosen == alternative.id for alternative in complete) else complete[0].id
        return leaf.id == reply
