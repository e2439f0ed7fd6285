"""Reading a conversation: messages, logs, branches and heads, hidden fields, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from crdt_conv.conversation.replica import Replica
from crdt_conv.conversation.views import Branch, Log
from crdt_conv.document.verify import Problem, verify
from crdt_conv.engine import Tail
from crdt_conv.errors import MalformedEntry, UnknownBranch
from crdt_conv.ids import MessageId
from crdt_conv.messages.hidden import HiddenField, hidden_fields, in_order
from crdt_conv.messages.message import MAIN, Message
from crdt_conv.messages.node import Node
from crdt_conv.runs.run import parse_run

TAIL: Final = 64
"""So many messages at the end of a branch are stored to be read at once."""
TAILS: Final = 8
"""Of so many branches, the latest."""


class Reading(Replica):
    """What a conversation says. Nothing here changes anything."""

    def __len__(self) -> int:
        """How many messages it has, on all branches; what waits for a parent is none yet."""
        return len(self.graph)

    def __contains__(self, message_id: object) -> bool:
        return message_id in self.graph

    # Messages and logs

    def message(self, message_id: str) -> Message:
        """
        Return a message as it stands now.

        Raises:
            UnknownMessage: It is not here, or waits for a parent.
        """
        return self.index.message(message_id)

    def messages(self, message_ids: Iterable[str] | None = None) -> list[Message]:
        """
        Return messages in the order of their ids here; all of them, parents first, where none are named.

        Raises:
            UnknownMessage: One is not here, or waits for a parent.
        """
        graph = self.graph
        asked = (node.id for node in graph) if message_ids is None else (graph[m].id for m in message_ids)
        return self.index.messages(list(asked))

    def copies(self, message_id: str) -> list[Message]:
        """
        Return what squash and cherry-pick made from a message, and from that, parents first.

        Raises:
            UnknownMessage: It is not here, or waits for a parent.
        """
        found = self.index.copies(self.graph[message_id].id)
        return self.index.messages([node.id for node in self.graph if node.id in found] if found else [])

    def lin(self, *message_ids: str) -> list[Message]:
        """
        Return the log as a message saw it, itself last; under several, each adds what is not there yet.

        Raises:
            UnknownMessage: One is not here, or waits for a parent.
        """
        return self.index.messages(self.graph.lin_ids(*message_ids))

    def digest(self, *message_ids: str) -> bytes:
        """Return the digest of ``lin(*message_ids)``, 32 bytes; raises as it does."""
        return self.graph.digest_of(message_ids)

    def log(self, branch: str = MAIN, *, last: int | None = None) -> Log:
        """
        Return a branch as it reads now: ``lin`` over its heads.

        Args:
            branch: Its name.
            last: How many messages to read, from the end; all, where it is left out.

        Raises:
            UnknownBranch: There is none of this name.
        """
        stored = self._stored_log(branch, last)
        if stored is not None:
            return stored
        graph = self.graph
        heads = [head.id for head in self._heads(branch)]
        ids = graph.lin_ids(*heads)
        shown = ids if last is None else ids[max(len(ids) - last, 0) :]
        return Log(
            branch,
            tuple(self.index.messages(heads)),
            tuple(self.index.messages(shown)),
            graph.digest_of(heads),
            len(ids),
        )

    def _stored_log(self, branch: str, last: int | None) -> Log | None:
        """Return the end of a branch from where it was stored, before anything else of it is in memory."""
        store = self._log.index()
        if store is None or self._index is not None or last is None or last > TAIL:
            return None
        found = store.tail(self.id, branch)
        if found is None:
            return None
        tail, messages = found
        return Log(
            branch,
            tuple(messages[head] for head in tail.heads),
            tuple(messages[place] for place in tail.last[max(len(tail.last) - last, 0) :]),
            bytes.fromhex(tail.digest),
            tail.length,
        )

    def _tails(self) -> Mapping[str, Tail]:
        newest = sorted(
            self.branches, key=lambda name: -max((h.created for h in self._heads(name)), default=0)
        )
        return {name: self._tail(name) for name in newest[:TAILS]}

    def _tail(self, branch: str) -> Tail:
        graph, place = self.graph, self.index.place
        heads = [head.id for head in self._heads(branch)]
        ids = graph.lin_ids(*heads)
        return Tail(
            tuple(map(place, heads)),
            tuple(map(place, ids[-TAIL:])),
            graph.digest_of(heads).hex(),
            len(ids),
        )

    # Branches

    @property
    def branches(self) -> list[str]:
        """All branches by name, ``main`` first."""
        forked = {name for name in self.index.roots["branches"] if self._forked_at(name)}
        names = self.graph.branches | forked | {MAIN}
        return sorted(names, key=lambda name: (name != MAIN, name))

    def has_branch(self, name: str) -> bool:
        """Whether somebody wrote on a branch or forked it; ``main`` is always there."""
        return name == MAIN or self.graph.has_branch(name) or self._forked_at(name) is not None

    def branch(self, name: str) -> Branch:
        """
        Return what is known of a branch.

        Raises:
            UnknownBranch: There is none of this name.
        """
        if not self.has_branch(name):
            raise UnknownBranch(name)
        entry = self.index.roots["branches"].get(name)
        entry = entry if isinstance(entry, dict) else {}
        title = entry.get("title")
        return Branch(name, title if isinstance(title, str) else name, entry.get("archived") is True)

    def heads(self, branch: str = MAIN) -> list[Message]:
        """
        Return the heads of a branch by ``(created, id)``; of a fork without messages, where it forked.

        Raises:
            UnknownBranch: Nobody wrote on it, and it was not forked.
        """
        return self.index.messages([head.id for head in self._heads(branch)])

    def _heads(self, branch: str) -> list[Node]:
        heads = self.graph.heads(branch, self.index.roots["choices"], self._settled)
        if heads or branch == MAIN:
            return heads
        forked_at = self._forked_at(branch)
        if forked_at is None:
            raise UnknownBranch(branch)
        return [forked_at]

    def _settled(self, replies: Sequence[Node]) -> list[Node]:
        """Leave out the answers of a run that lost to another of its own: see ``Run.winner``."""
        of_runs: dict[str, list[MessageId]] = {}
        for reply in self.index.messages([node.id for node in replies]):
            if reply.run is not None:
                of_runs.setdefault(reply.run, []).append(reply.id)
        lost = {
            answer
            for run_id, answers in of_runs.items()
            if len(answers) > 1
            for answer in {*answers} - {self._winner(run_id, answers)}
        }
        return [reply for reply in replies if reply.id not in lost]

    def _winner(self, run_id: str, answers: Sequence[MessageId]) -> MessageId | None:
        raw = self.document.read("runs", run_id)
        try:
            return parse_run(run_id, raw).winner(answers)
        except MalformedEntry:
            return min(answers)

    def _forked_at(self, branch: str) -> Node | None:
        entry = self.index.roots["branches"].get(branch)
        forked_at = entry.get("forked_at") if isinstance(entry, dict) else None
        graph = self.graph
        return graph[forked_at] if isinstance(forked_at, str) and forked_at in graph else None

    def alternatives(self, message_id: str) -> list[Message]:
        """
        Return all replies to what a reply answers, on its branch, itself included, oldest first.

        Raises:
            UnknownMessage: It is not here.
        """
        return self.index.messages([node.id for node in self.graph.alternatives(message_id)])

    def next_parents(self, branch: str = MAIN) -> tuple[MessageId, ...]:
        """Return the parents that a message written now on this branch gets."""
        return self.graph.parents_for(self._heads(branch))

    # Hidden fields

    def hidden(self, message_id: str | Message) -> list[HiddenField]:
        """
        Return a message's hidden fields in the order of their parts; a blob's bytes as its data.

        Who has the message gives that: its content need not be read again.

        A field whose blob is not here has neither data nor a way to be sent.

        Raises:
            UnknownMessage: It is not here.
        """
        message = message_id if isinstance(message_id, Message) else self.message(message_id)
        return [field.with_data(self._log.get_blob) for field in self._fields_as_stored(message)]

    def _fields_as_stored(self, message: Message) -> list[HiddenField]:
        """Return hidden fields in the order of their parts, without the bytes of their blobs."""
        if not message.hidden_count:
            return []
        raw = self.document.read_exact("messages", message.id, "hidden")
        return in_order(hidden_fields(raw), message)

    def blob(self, sha256: str) -> bytes | None:
        """Return the bytes of a blob, of a ``media`` part say, or ``None`` where they are not here."""
        return self._log.get_blob(sha256)

    # What is wrong

    def verify(self) -> Sequence[Problem]:
        """Return everything that this replica keeps and can't read, or reads with doubt."""
        return verify(self.document, self.index, self._log.has_blob)

    def problems(self) -> Sequence[Problem]:
        """Return the ones of ``verify`` for which something is not shown."""
        return [problem for problem in self.verify() if problem.is_hiding]
