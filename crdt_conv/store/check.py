"""
The check of one conversation: that all derived of it says what its log says.

The conversation is read from its log once more; its stored index and its title in the
list must say the same.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from crdt_conv.conversation import Conversation
from crdt_conv.conversation.reading import TAIL
from crdt_conv.engine import ConversationInfo, Engine, IndexStore, Listed, Row, StoredIndex
from crdt_conv.errors import MalformedEntry, StoreError
from crdt_conv.graph.digest import content_digest
from crdt_conv.ids import ConversationId, MessageId, now_ms
from crdt_conv.messages.bodies import body_of
from crdt_conv.messages.message import Author, Message, parse_message
from crdt_conv.store.damage import Damage, update_damage
from crdt_conv.store.keeper import Keeper
from crdt_conv.store.memory import MemoryEngine

UNREADABLE: Final = (StoreError, ValueError, LookupError, TypeError, AttributeError, zlib.error)
"""What reading a damaged index ends with: it is not checked while it is read."""
BATCH: Final = 256
"""So many messages are compared at a time."""


def check_conversation(
    engine: Engine, conversation: ConversationId, listed: ConversationInfo | None
) -> Iterator[Damage]:
    """
    Yield what is wrong with one conversation, which is ``listed`` so.

    Raises:
        StoreError: The engine is closed, say; a damaged log is not raised but told.
    """
    try:
        rows = engine.read(conversation)
    except StoreError as error:
        yield Damage("update", conversation, "", str(error))
        return
    for seq, update in rows:
        yield from update_damage(conversation, seq, update)
    fresh = _Fresh(conversation, rows)
    yield from _missing_blobs(engine, fresh)
    yield from _list_damage(listed, fresh)
    if engine.index is not None:
        yield from _index_damage(engine.index, fresh)


class _Fresh:
    """A conversation as its log alone says it."""

    def __init__(self, conversation: ConversationId, rows: Sequence[tuple[int, bytes]]) -> None:
        log = MemoryEngine()
        log.append([Row(conversation, update) for _, update in rows], at_ms=0)
        self.id = conversation
        self.whole = Conversation(conversation, Keeper(log, "", read_only=True), Author("human"))
        # Parsed here and not taken from its index: the graph keeps nodes only.
        self.messages: dict[MessageId, Message] = {}
        for key, raw in self.whole.document.read("messages").items():
            with suppress(MalformedEntry):
                self.messages[key] = parse_message(key, raw)

    @property
    def listed(self) -> Listed:
        """What the list is to show."""
        return Listed(self.whole.title, self.whole.forked_from, self.whole.is_archived)


def _missing_blobs(engine: Engine, fresh: _Fresh) -> Iterator[Damage]:
    for message in fresh.messages.values():
        for blob in message.blobs:
            if not engine.has_blob(blob):
                text = f"the message {message.id} refers to the blob {blob:.64}, which is not here"
                yield Damage("blob", fresh.id, blob, text)


def _list_damage(listed: ConversationInfo | None, fresh: _Fresh) -> Iterator[Damage]:
    if listed is None:
        yield Damage("list", fresh.id, "", "it is in the log and not in the list of conversations")
    elif (listed.title, listed.forked_from, listed.is_archived) != fresh.listed:
        text = "the list shows another title, origin or place than its document says"
        yield Damage("list", fresh.id, "", text)


def described(conversation: ConversationId, rows: Sequence[tuple[int, bytes]]) -> ConversationInfo:
    """Return what the list shows of a conversation, as far as its log says it."""
    fresh = _Fresh(conversation, rows)
    times = [message.created for message in fresh.messages.values()] or [now_ms()]
    title, origin, is_archived = fresh.listed
    return ConversationInfo(conversation, title, min(times), max(times), origin, is_archived)


# The stored index


def _index_damage(store: IndexStore, fresh: _Fresh) -> list[Damage]:
    wrong: list[tuple[str, str]] = []
    try:
        wrong.extend(_differences(store, fresh))
    except UNREADABLE as error:
        wrong.append(("", f"it can't be read ({type(error).__name__})"))
    return [Damage("index", fresh.id, key, f"its stored index: {text}") for key, text in wrong]


def _differences(store: IndexStore, fresh: _Fresh) -> Iterator[tuple[str, str]]:
    """Yield a key and what of the stored index is not as the document says, where it is as new as the log."""
    stored = store.load(fresh.id)
    if stored is None:
        return
    index = fresh.whole.index
    for name, mine, theirs in (
        ("roots", dict(stored.roots), index.roots),
        ("quarantined", dict(stored.quarantined), index.quarantined),
    ):
        if mine != json.loads(json.dumps(theirs)):
            yield name, f"its {name} are not the document's"
    yield from _wrong_messages(store, fresh, stored)
    yield from _wrong_tails(store, fresh)


def _wrong_messages(store: IndexStore, fresh: _Fresh, stored: StoredIndex) -> Iterator[tuple[str, str]]:
    unseen = dict(fresh.messages)
    for first in range(0, len(stored.nodes), BATCH):
        contents = stored.contents[first : first + BATCH]
        messages = store.messages(fresh.id, list(range(first, first + len(contents))))
        for message, content in zip(messages, contents, strict=True):
            true = unseen.pop(message.id, None)
            if true is None or (message.node, content) != (true.node, content_digest(true)):
                yield message.id, f"it has the message {message.id:.64} otherwise than the document"
            elif body_of(message) != body_of(true):
                yield message.id, f"it has the content of {message.id:.64} otherwise than the document"
    yield from ((message_id, f"it lacks the message {message_id:.64}") for message_id in unseen)


def _wrong_tails(store: IndexStore, fresh: _Fresh) -> Iterator[tuple[str, str]]:
    for branch in fresh.whole.branches:
        found = store.tail(fresh.id, branch)
        if found is None:
            continue
        tail, messages = found
        log = fresh.whole.log(branch, last=TAIL)
        shown = _ids(messages[place] for place in tail.last), _ids(messages[place] for place in tail.heads)
        expected = _ids(log.messages), _ids(log.heads)
        if (*shown, tail.digest, tail.length) != (*expected, log.digest.hex(), log.length):
            yield branch, f"the branch {branch!r:.64} ends otherwise than in the document"


def _ids(messages: Iterable[Message]) -> list[MessageId]:
    return [message.id for message in messages]
