"""
A conversation: the document of one, bound to the log that makes it durable.

Rules. What comes from elsewhere is appended to the log before it is applied;
what is written here is one transaction, appended before the call returns. If
the log can't take it, it did not happen: the replica is read again from the
log. Subscribers hear of a change when it is durable, never before.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from crdt_conv import schema
from crdt_conv.clock import LATEST_MS, HybridClock
from crdt_conv.document import Changes, Document, is_panic
from crdt_conv.errors import InvalidMessage, MalformedUpdate, StoreError, UnknownBranch
from crdt_conv.fields import Json
from crdt_conv.ids import ConversationId, MessageId, derived_bytes, merge_id, new_id
from crdt_conv.message import MAIN, MERGE, ROLES, Author, Message, Part
from crdt_conv.runs import Runs
from crdt_conv.update_log import UpdateLog
from crdt_conv.updates import check_update
from crdt_conv.views import Change, Log, Problems
from crdt_conv.writer import MessageWriter, new_part


class Conversation:
    """One conversation. Made by a ``Store``; not to be used from two threads."""

    def __init__(self, conversation_id: ConversationId, log: UpdateLog, author: Author) -> None:
        self.id = conversation_id
        self.author = author
        self._log = log
        self._clock = HybridClock()
        self._subscribers: dict[object, Callable[[Change], None]] = {}
        self._loaded: Document | None = None
        self._is_writing = False

    @property
    def document(self) -> Document:
        """The replica, read from the log where it is not in memory."""
        if self._loaded is None:
            self._loaded = Document(self._log.read(self.id))
            for message in self._loaded.graph:
                self._clock.see(message.created)
        return self._loaded

    @property
    def runs(self) -> Runs:
        """The runs of this conversation."""
        # Made anew: kept, the two would hold each other, and an idle document in memory.
        return Runs(self)

    # Reading

    @property
    def title(self) -> str:
        """What people call it; may be empty."""
        title = self.document.read("meta").get("title")
        return title if isinstance(title, str) else ""

    @title.setter
    def title(self, title: str) -> None:
        _check_text(title)
        with self.writing() as document:
            document.put("meta", "title", title)

    def message(self, message_id: str) -> Message:
        """
        Return a message as it stands now.

        Raises:
            UnknownMessage: It is not here, or waits for a parent.
        """
        return self.document.graph[message_id]

    def lin(self, message_id: str) -> list[Message]:
        """Return the log as this message saw it, itself last."""
        return self.document.graph.lin(message_id)

    def digest(self, message_id: str) -> bytes:
        """Return the digest of ``lin(message_id)``, 32 bytes."""
        return self.document.graph.digest(message_id)

    @property
    def branches(self) -> list[str]:
        """All branches by name, ``main`` first."""
        forked = {name for name in self.document.read("branches") if self._forked_at(name)}
        names = self.document.graph.branches | forked | {MAIN}
        return sorted(names, key=lambda name: (name != MAIN, name))

    def heads(self, branch: str = MAIN) -> list[Message]:
        """
        Return the heads of a branch by ``(created, id)``; of a fork without messages, where it forked.

        Raises:
            UnknownBranch: Nobody wrote on it, and it was not forked.
        """
        document = self.document
        choices = {key: value for key, value in document.read("choices").items() if isinstance(value, str)}
        heads = document.graph.heads(branch, choices)
        if heads or branch == MAIN:
            return heads
        forked_at = self._forked_at(branch)
        if forked_at is None:
            raise UnknownBranch(branch)
        return [forked_at]

    def _forked_at(self, branch: str) -> Message | None:
        entry = self.document.read("branches", branch)
        forked_at = entry.get("forked_at") if isinstance(entry, dict) else None
        graph = self.document.graph
        return graph[forked_at] if isinstance(forked_at, str) and forked_at in graph else None

    def log(self, branch: str = MAIN) -> Log:
        """
        Return a branch as it reads now: ``lin`` over its heads.

        Raises:
            UnknownBranch: There is none of this name.
        """
        heads = self.heads(branch)
        ids = [head.id for head in heads]
        graph = self.document.graph
        return Log(branch, tuple(heads), tuple(graph.lin(*ids)), graph.digest_of(ids))

    def problems(self) -> Problems:
        """Return what this replica keeps but can't read."""
        document = self.document
        return Problems(
            dict(document.quarantined), document.graph.waiting(), document.is_pending, document.refused
        )

    # Writing

    @contextmanager
    def writing(self) -> Iterator[Document]:
        """
        Make changes as one durable update; an error leaves no trace of them.

        Raises:
            InvalidMessage: A value can't be in a document, or a change is being made already.
            StoreError: The log could not take it.
        """
        if self._is_writing:
            raise InvalidMessage("a change of this conversation is being made already: make them one")
        document = self.document
        self._is_writing = True
        try:
            with document.transaction() as changes:
                yield document
            seq = self._log.append(self.id, changes.update, None) if changes.update else 0
        except BaseException as error:
            # The replica may hold what the log does not: read it again when next asked.
            self._loaded = None
            if is_panic(error) or isinstance(error, UnicodeEncodeError | TypeError | OverflowError):
                raise InvalidMessage("a value that no document can hold") from error
            raise
        finally:
            self._is_writing = False
        if changes.update:
            self._announce(changes, seq, None)

    def append(
        self,
        role: str,
        text: str | None = None,
        *,
        parts: Sequence[Part] = (),
        branch: str = MAIN,
        parents: Sequence[str] | None = None,
        author: Author | None = None,
    ) -> Message:
        """
        Write a message, by default on top of all heads of its branch.

        Args:
            role: ``system``, ``user``, ``assistant`` or ``tool``.
            text: Becomes the first part.
            parts: Further parts; see ``new_part``.
            branch: A new name forks, and needs ``parents``.
            parents: Message ids, where it is not the heads of the branch.
            author: Who wrote it; this device's person, where it is left out.

        Raises:
            InvalidMessage: The role, the text or the branch can't be.
            UnknownBranch: A new branch, and no parents.
            UnknownMessage: A parent is not here.
            StoreError: It could not be made durable.
        """
        texts = () if text is None else (new_part("text", text=text),)
        draft = self._draft(role, branch, parents, author, (*texts, *parts))
        with self.writing() as document:
            document.put("messages", draft.id, schema.message_map(draft))
        return self.message(draft.id)

    def stream(
        self,
        role: str = "assistant",
        *,
        branch: str = MAIN,
        parents: Sequence[str] | None = None,
        author: Author | None = None,
        run: str | None = None,
        model: str | None = None,
    ) -> MessageWriter:
        """Begin a message whose text comes piece by piece; raises as ``append`` does."""
        draft = self._draft(role, branch, parents, author, (), status="streaming", run=run, model=model)
        with self.writing() as document:
            document.put("messages", draft.id, schema.message_map(draft))
        return MessageWriter(self, draft.id)

    def writer(self, message_id: str) -> MessageWriter:
        """
        Go on with a message that was begun before.

        Raises:
            UnknownMessage: It is not here.
        """
        return MessageWriter(self, self.message(message_id).id)

    def fork(self, branch: str, at: str) -> None:
        """
        Begin a branch at a message; what is appended to it is written on top of that.

        Raises:
            InvalidMessage: A branch of this name is there already.
            UnknownMessage: ``at`` is not here.
        """
        _check_branch(branch)
        if branch in self.branches:
            raise InvalidMessage(f"there is a branch {branch!r} already: choose another name")
        forked_at = self.message(at).id
        entry = {"title": branch, "archived": False, "forked_at": forked_at}
        with self.writing() as document:
            document.put("branches", branch, schema.plain_map(entry))

    def merge(self, source: str, into: str = MAIN) -> Message | None:
        """
        Join a branch into another by a ``merge`` message on the target.

        All of it is derived from the parents, so that the same merge made on two
        devices is one message with one digest.

        Returns:
            The merge message, or ``None`` where the target holds all of the source.

        Raises:
            UnknownBranch: One of them is not here.
        """
        graph = self.document.graph
        targets, sources = self.heads(into), self.heads(source)
        held = {message.id for message in graph.lin(*(head.id for head in targets))}
        if all(head.id in held for head in sources):
            return None
        parents = graph.parents_for({head.id: head for head in (*targets, *sources)}.values())
        created = min(max(graph[parent].created for parent in parents) + 1, LATEST_MS)
        merged = Message(
            id=MessageId(merge_id(into, parents, created)),
            role=MERGE,
            parents=parents,
            branch=into,
            created=created,
            author=Author("tool", name="merge"),
            nonce=derived_bytes("nonce", into, *parents)[:16],
        )
        with self.writing() as document:
            document.put("messages", merged.id, schema.message_map(merged))
        return self.message(merged.id)

    def next_parents(self, branch: str = MAIN) -> tuple[MessageId, ...]:
        """Return the parents that a message written now on this branch gets."""
        return self.document.graph.parents_for(self.heads(branch))

    def next_created(self) -> int:
        """Return a ``created`` in milliseconds that is behind nothing seen."""
        return self._clock.next()

    def _draft(
        self,
        role: str,
        branch: str,
        parents: Sequence[str] | None,
        author: Author | None,
        parts: Sequence[Part],
        **generated: Json,
    ) -> Message:
        _check_branch(branch)
        if role not in ROLES or role == MERGE:
            raise InvalidMessage(f"no role {role!r}: it is system, user, assistant or tool")
        for part in parts:
            _check_text(part.text)
        given = self.next_parents(branch) if parents is None else [self.message(p).id for p in parents]
        created = self._clock.next()
        return Message(
            id=MessageId(new_id(created)),
            role=role,
            parents=tuple(given),
            branch=branch,
            created=created,
            author=author or self.author,
            parts=tuple(parts),
            nonce=secrets.token_bytes(16),
            **generated,
        )

    # Exchange with other replicas

    @property
    def state_vector(self) -> bytes:
        """Which operations this replica has."""
        return self.document.state_vector

    def encode(self, state_vector: bytes | None = None) -> bytes:
        """Return the whole document, or what a state vector lacks, as one update."""
        return self.document.encode(state_vector)

    def receive(self, update: bytes, origin: str | None = None) -> bool:
        """
        Take in an update from another replica: append, then apply.

        Args:
            update: Bytes from a stranger.
            origin: The peer it came from.

        Returns:
            Whether it held anything new.

        Raises:
            MalformedUpdate: It is no update; nothing changed.
            StoreError: It could not be made durable; nothing changed.
        """
        if not self.is_news(update):
            return False
        self.apply_logged(update, self._log.append(self.id, update, origin), origin)
        return True

    def is_news(self, update: bytes) -> bool:
        """
        Whether an update holds anything that is not here, so that it is worth a place in the log.

        Raises:
            MalformedUpdate: It is no update.
        """
        check_update(update)
        return not self.document.is_redundant(update)

    def apply_logged(self, update: bytes, seq: int, origin: str | None = None) -> None:
        """
        Apply an update that stands in the log already, for whoever appends in groups.

        Raises:
            MalformedUpdate: It can't be integrated; it is taken back from the log.
        """
        document = self.document
        try:
            changes = document.apply(update) or self._read_again(document)
        except MalformedUpdate:
            self._log.discard(seq)
            self._loaded = None
            raise
        changes.update = update
        self._announce(changes, seq, origin)

    @property
    def last_seq(self) -> int:
        """The sequence number of the last update in the log; 0 without any."""
        return self._log.last_seq(self.id)

    def acknowledge(self, peer: str, seq: int) -> None:
        """Write down that a peer has stored everything up to ``seq``."""
        self._log.acknowledge(peer, self.id, seq)

    def waiting(self, peer: str) -> int:
        """Count the updates that a peer has not stored yet, as far as we were told."""
        return self._log.waiting(peer, self.id)

    def _read_again(self, before: Document) -> Changes:
        """Build the replica anew from the log; returns how it differs from what it was."""
        self._loaded = None
        known = {message.id: message for message in before.graph}
        graph = self.document.graph
        messages = {message.id for message in graph if known.get(message.id) != message}
        return Changes(messages=messages, runs=set(self.document.read("runs")), meta=True)

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback``, which must not raise, for every durable change; returns the way to stop it."""
        # The way out knows a key, not the callback, whose owner may keep it: no cycle.
        key = object()
        self._subscribers[key] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    def _announce(self, changes: Changes, seq: int, origin: str | None) -> None:
        for message_id in changes.messages:
            if message_id in self.document.graph:
                self._clock.see(self.message(message_id).created)
        if changes.meta:
            # Only for the list, and written again with the next change: what is durable is told all the same.
            with suppress(StoreError):
                self._log.describe(self.id, self.title)
        change = Change(
            self.id, changes.update, seq, origin, frozenset(changes.messages), frozenset(changes.runs)
        )
        for callback in tuple(self._subscribers.values()):
            callback(change)


def _check_branch(branch: str) -> None:
    if not branch or len(branch) > 200 or not branch.isprintable():
        raise InvalidMessage(f"no branch name: {branch!r} (1 to 200 printable characters)")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidMessage("the text holds half a surrogate pair, which UTF-8 can't carry") from None
