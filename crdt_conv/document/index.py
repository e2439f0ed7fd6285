"""
The index of a conversation: what its document says, read once.

A message is parsed when it is new or touched, and only then; entries of the
wrong shape are quarantined, each alone. The index can be stored and loaded,
so that a conversation is read without its Y.Doc. It is derived: built anew
from the document it is the same.

Contents of messages are kept for the latest ones only; ``ask`` returns the
others from wherever they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias, cast
from weakref import WeakMethod

from crdt_conv.document import schema
from crdt_conv.document.changes import Changes
from crdt_conv.engine import IndexChange, StoredIndex, Tail
from crdt_conv.errors import MalformedEntry
from crdt_conv.graph.digest import content_digest
from crdt_conv.graph.graph import Graph
from crdt_conv.ids import MessageId
from crdt_conv.messages.fields import Json
from crdt_conv.messages.message import Message, parse_message
from crdt_conv.messages.node import Node

KEPT: Final = 4096
"""How many messages stay in memory with their content, at most."""


class Source(Protocol):
    """What an index reads: a document."""

    def read(self, root: str, key: str | None = None) -> Json:
        """Return a root, or one entry of it, as JSON."""

    def read_entries(self, root: str, keys: Collection[str]) -> dict[str, Json]:
        """Return some entries of a root, those that are there."""


State: TypeAlias = tuple[Node, bytes, Message | None]
"""How a message stands: its place, the digest of its visible content, and all of it where it is in memory."""

Ask = Callable[[Sequence[MessageId]], list[Message]]


class Index:
    """What the messages and the small roots of one document say."""

    def __init__(self, ask: Ask) -> None:
        """
        Make an empty index.

        Args:
            ask: Returns the content of messages that are not in memory.
        """
        self._ask = WeakMethod(ask)
        self._kept: dict[MessageId, Message] = {}
        self._places: dict[MessageId, int] = {}
        self._unsaved: set[MessageId] = set()
        self._dropped: set[str] = set()
        self._copies: defaultdict[MessageId, set[MessageId]] = defaultdict(set)
        self._is_whole = True
        self.quarantined: dict[str, str] = {}
        self.roots: dict[str, Json] = {name: {} for name in schema.SMALL_ROOTS}
        self.graph: Graph[Node] = self._graph_of(())

    def _graph_of(self, nodes: Iterable[Node]) -> Graph[Node]:
        # Weakly, here and in _ask: no cycle keeps an idle conversation in memory.
        content = WeakMethod(self._content)

        def content_of(node: Node) -> bytes:
            return cast("Callable[[Node], bytes]", content())(node)

        return Graph(nodes, content_of)

    def _content(self, node: Node) -> bytes:
        return content_digest(self._kept.get(node.id) or self.messages([node.id])[0])

    # Filling it

    def read(self, document: Source) -> None:
        """Read a document from the beginning."""
        self.quarantined, self._kept, self._is_whole = {}, {}, True
        self._places.clear()
        self._unsaved.clear()
        self._copies.clear()
        self.roots = {name: document.read(name) for name in schema.SMALL_ROOTS}
        nodes = []
        for key, raw in document.read("messages").items():
            message = self._parse(key, raw)
            if message is not None:
                nodes.append(message.node)
                self._note(message)
        self.graph = self._graph_of(nodes)

    def load(self, stored: StoredIndex) -> None:
        """Take an index that was stored."""
        self.quarantined, self.roots, self._is_whole = dict(stored.quarantined), dict(stored.roots), False
        ids = [node.id for node in stored.nodes]
        self._places = dict(zip(ids, range(len(ids)), strict=True))
        self.graph = self._graph_of(stored.nodes)
        self.graph.logs.remember(zip(ids, stored.contents, strict=True))
        for node in stored.nodes:
            self._note_source(node.id, node.source)

    def settle(self, changes: Changes, document: Source) -> None:
        """Take in what a transaction touched; adds what it placed to ``changes.messages``."""
        if not (self._places or self.quarantined or changes.written):
            # Nothing is known yet: read at once, it takes half as long.
            self.read(document)
            changes.messages = {key for key in changes.messages if self._is_known(key)}
            return
        for name in changes.roots:
            self.roots[name] = document.read(name)
        asked = changes.messages - changes.written.keys()
        raw = document.read_entries("messages", asked) if asked else {}
        # An event can name a key whose value is still pending.
        touched = {key for key in changes.messages if key not in asked or key in raw or self._is_known(key)}
        changes.messages = touched
        # Each of them: what is placed after an odd one is told of, too.
        settled = [self._settle_one(key, changes.written.get(key), raw.get(key)) for key in touched]
        if all(settled):
            changes.messages |= self.graph.take_placed()
        else:
            # An entry lost its shape or its place, which only a stranger does.
            before = {node.id for node in self.graph} - self.graph.take_placed()
            self.read(document)
            changes.messages |= before ^ {node.id for node in self.graph}

    def _settle_one(self, key: MessageId, written: Message | None, raw: Json) -> bool:
        if raw is None and written is None:
            return False
        message = written or self._parse(key, raw)
        if message is None:
            # What never was a message only stands among what is quarantined.
            return key not in self.graph and not self.graph.is_waiting(key)
        before = self.graph[key].blobs if key in self.graph else ()
        if not self.graph.add(message.node):
            return False
        self._dropped.update(set(before) - set(message.blobs))
        self._note(message)
        return True

    def _parse(self, key: str, raw: Json) -> Message | None:
        try:
            message = parse_message(key, raw)
        except MalformedEntry as error:
            self.quarantined[key] = str(error)
            return None
        self.quarantined.pop(key, None)
        return message

    def _is_known(self, key: str) -> bool:
        return key in self.graph or self.graph.is_waiting(key) or key in self.quarantined

    def _note(self, message: Message) -> None:
        self._unsaved.add(message.id)
        self._places.setdefault(message.id, len(self._places))
        self._note_source(message.id, message.source)
        self._keep(message)

    def _note_source(self, message_id: MessageId, source: Iterable[MessageId]) -> None:
        for original in source:
            self._copies[original].add(message_id)

    def copies(self, message_id: MessageId) -> set[MessageId]:
        """Return the placed messages that were made from one, over any number of copies."""
        found: set[MessageId] = set()
        todo = [message_id]
        while todo:
            original = todo.pop()
            near = {copy for copy in self._copies.get(original, ()) if copy in self.graph}
            todo += near - found
            found |= near
        return found - {message_id}

    # Contents

    def message(self, message_id: str) -> Message:
        """
        Return a message with its content.

        Raises:
            UnknownMessage: It is not placed.
        """
        known = self.graph[message_id].id
        return self._kept.get(known) or self.messages([known])[0]

    def messages(self, message_ids: Sequence[MessageId]) -> list[Message]:
        """Return messages with their content, in the order of the ids."""
        missing = [message_id for message_id in message_ids if message_id not in self._kept]
        asked = {message.id: message for message in self._asked(missing)}
        found = [asked.get(message_id) or self._kept[message_id] for message_id in message_ids]
        # No more than there is room for: a log of any length passes through.
        for message_id in missing[-KEPT // 4 :]:
            self._keep(asked[message_id])
        return found

    def _asked(self, missing: Sequence[MessageId]) -> list[Message]:
        return cast("Ask", self._ask())(missing) if missing else []

    def _keep(self, message: Message) -> None:
        self._kept.pop(message.id, None)
        self._kept[message.id] = message
        # What is not stored yet stays, so that it is not read twice.
        if len(self._kept) > KEPT + len(self._unsaved):
            self._kept = dict(list(self._kept.items())[len(self._kept) // 2 :])

    # Storing it

    @property
    def unsaved(self) -> int:
        """How many messages changed since the index was stored."""
        return len(self._unsaved)

    def is_saved(self, message_id: MessageId) -> bool:
        """Whether the stored index has a message's content as it stands."""
        return not self._is_whole and message_id not in self._unsaved

    def unsave(self) -> None:
        """Note that nothing is stored any more."""
        self._is_whole = True
        self._unsaved = set(self._places)

    def place(self, message_id: MessageId) -> int:
        """Return where the stored index has a message."""
        return self._places[message_id]

    def change(self, seq: int, tails: Mapping[str, Tail]) -> IndexChange:
        """Return what the stored index lacks; the log ends at ``seq``."""
        # By place, so that neighbours in the conversation are stored together.
        unsaved = sorted(self._unsaved, key=self._places.__getitem__)
        messages = self.messages(unsaved)
        return IndexChange(
            seq,
            [self._places[message_id] for message_id in unsaved],
            messages,
            [self._content_of(message) for message in messages],
            dict(self.roots),
            dict(self.quarantined),
            tails,
            frozenset(self._dropped),
            self._is_whole,
        )

    def _content_of(self, message: Message) -> bytes:
        return self.graph.logs.content(message.id) if message.id in self.graph else content_digest(message)

    def saved(self) -> None:
        """Note that ``change`` was stored."""
        self._unsaved.clear()
        self._dropped.clear()
        if len(self._kept) > KEPT:
            self._kept = dict(list(self._kept.items())[-KEPT:])
        self._is_whole = False

    def differs(self, before: Mapping[MessageId, State]) -> set[MessageId]:
        """Return the messages that are not placed as they were, or were placed and are not any more."""
        return {node.id for node in self.graph if self._differs(node, before.get(node.id))}.union(
            message_id for message_id in before if message_id not in self.graph
        )

    def _differs(self, node: Node, before: State | None) -> bool:
        # Usage, say, is no part of the digest: it is compared where both are in memory.
        return (
            before is None
            or before[:2] != (node, self.graph.logs.content(node.id))
            or (before[2] is not None and before[2] != self._kept.get(node.id, before[2]))
        )

    def contents(self) -> dict[MessageId, State]:
        """Return how every placed message stands, to compare with later."""
        contents = self.graph.logs.content
        return {node.id: (node, contents(node.id), self._kept.get(node.id)) for node in self.graph}
