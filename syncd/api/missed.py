"""What a change is about, and what changed in a conversation behind some place of its log."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from crdt_conv import ConversationId, MalformedUpdate, Store, StoreError
from crdt_conv.document.document import Document
from crdt_conv.yjs.updates import merge_updates


class Topic(NamedTuple):
    """
    Something that changed.

    ``kind`` is message, run, title, branches, reset or deleted; conversation where all are told of.
    """

    kind: str
    id: str = ""


def topics_of(messages: Collection[str], runs: Collection[str], roots: Collection[str]) -> list[Topic]:
    """Return what is told of a change."""
    topics = [Topic("message", message_id) for message_id in sorted(messages)]
    topics += [Topic("run", run_id) for run_id in sorted(runs)]
    if "meta" in roots:
        topics.append(Topic("title"))
    if {"branches", "choices"} & set(roots):
        topics.append(Topic("branches"))
    return topics


def missed_topics(store: Store, conversation: ConversationId, seq: int) -> list[Topic] | None:
    """Return what changed behind ``seq``; ``None`` where the log does not tell it apart any more."""
    try:
        rows = store.read(conversation)
        missed = [update for at, update in rows if at > seq]
        if not missed:
            return [] if seq <= store.last_seq(conversation) else None
        if rows[0][0] > seq and store.engine.size(conversation).snapshot:
            # A snapshot holds what was seen and what was not.
            return None
        document = Document(update for at, update in rows if at <= seq)
        changes = document.apply(merge_updates(missed))
    except (StoreError, MalformedUpdate):
        return None
    return topics_of(changes.messages, changes.runs, changes.roots) if changes is not None else None
