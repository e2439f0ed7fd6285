"""
Writing imported conversations into a store.

Ids are derived from what the other program calls things, so a second import, here or on another
device, finds everything in place and writes only what is new. An answer that was at the end of a
session, and has more parts since, is written again as an alternative, and chosen where nothing stands
on the first yet: what is there is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from crdt_conv import MAIN, Author, Conversation, ConversationId, HiddenField, Message, MessageId, Part
from crdt_conv.ids import imported_id
from crdt_conv.messages.message import REDACTED
from syncd.interchange.records import Findings, Imported, Record
from syncd.interchange.tree import Placed, in_order, on_branches

LONGEST_TITLE = 80
AT_ONCE = 500
"""So many messages are written as one update."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one imported conversation; ``messages`` counts those that were new."""

    id: ConversationId
    title: str
    program: str
    messages: int
    branches: int


def conversation_id(imported: Imported) -> ConversationId:
    """Return the id that a conversation gets, wherever it is imported."""
    times = [record.created for record in imported.records if record.created]
    began = imported.fallback or min(times, default=0)
    return ConversationId(imported_id(began, imported.program, imported.key))


def write(conversation: Conversation, imported: Imported, findings: Findings) -> Written:
    """
    Write what is new of an imported conversation.

    Raises:
        InvalidMessage: The file holds something that no document can.
        StoreError: It could not be made durable.
    """
    records = in_order(imported.records, findings)
    # By the times in the file: one that is made up may be another on another device.
    firsts = {record.key: _named(imported, record, record.key) for record in records}
    answers = (firsts[record.key] for record in records if record.role == "assistant")
    # At once: one alone is a page read and unpacked.
    there = {m.id: m for m in conversation.messages(name for name in answers if name in conversation)}
    ids = {record.key: _id(imported, record, firsts[record.key], there) for record in records}
    times = _times(records, imported.fallback)
    placed = on_branches(records, imported.current)
    new = [item for item in placed if ids[item.record.key] not in conversation]
    others = {key for key, first in firsts.items() if ids[key] != first}
    grown = {key for key in others if not conversation.graph.is_continued(firsts[key])}
    grown &= {record.key for record in records if record.parent is not None and record.status == "complete"}
    new = _beside(conversation, new, {item.branch for item in placed}, ids, others)
    title = imported.title or _first_words(records)
    if new and title and not conversation.title:
        conversation.title = title
    for start in range(0, len(new), AT_ONCE):
        messages: list[Message] = []
        hidden: dict[str, Sequence[HiddenField]] = {}
        for record, branch, _ in new[start : start + AT_ONCE]:
            for data in record.blobs:
                conversation.attach_bytes(data if isinstance(data, bytes) else data(), mime="")
            message = _message(imported.program, record, branch, ids, times)
            messages.append(message)
            hidden[message.id] = [replace(field, created=message.created) for field in record.hidden]
        conversation.insert(messages, hidden)
    for item in new:
        if item.is_chosen or item.record.key in grown:
            conversation.choose(ids[item.record.key])
    branches = len({item.branch for item in placed})
    return Written(conversation.id, conversation.title, imported.program, len(new), branches)


def _named(imported: Imported, record: Record, name: str) -> MessageId:
    return MessageId(imported_id(record.created, imported.program, imported.key, name))


def _id(
    imported: Imported, record: Record, first: MessageId, answers: Mapping[MessageId, Message]
) -> MessageId:
    """Return the id of a message; of an answer that has grown since it was imported, another one."""
    there = answers.get(first)
    if there is None:
        return first
    before, now = _outline(there.parts), _outline(record.parts)
    has_grown = there.status != REDACTED and len(before) < len(now) and now[: len(before)] == before
    return _named(imported, record, f"{record.key}#{len(now)}") if has_grown else first


def _outline(parts: Sequence[Part]) -> list[tuple[str, str, object]]:
    return [(part.type, part.text, part.content.get("call_id")) for part in parts]


def _beside(
    conversation: Conversation,
    new: Sequence[Placed],
    taken: set[str],
    ids: Mapping[str, MessageId],
    others: set[str],
) -> list[Placed]:
    """
    Give what is new a branch of its own where the one of its name has gone another way here.

    A reader may have gone back and on elsewhere since the last import: what was ``main`` then stays so.
    """
    names = (f"{MAIN}-{number}" for number in count(2))
    free = (name for name in names if name not in taken and name not in conversation.branches)
    renamed: dict[str, str] = {}
    for record, branch, _ in new:
        if branch in renamed or branch not in conversation.branches or record.key in others:
            continue
        heads = conversation.heads(branch)
        parent = (ids[record.parent],) if record.parent is not None else ()
        is_reply = record.role == "assistant" and record.parent is not None
        is_other_reply = is_reply and any(head.parents == parent for head in heads)
        goes_on = not heads or any(head.id in parent for head in heads)
        renamed[branch] = branch if goes_on or is_other_reply else next(free)
    return [item._replace(branch=renamed.get(item.branch, item.branch)) for item in new]


def _first_words(records: Sequence[Record]) -> str:
    """Return how the first question begins, for a conversation without a title."""
    asked = (part.text for record in records if record.role == "user" for part in record.parts)
    # What stands in angle brackets was put in front by a program.
    lines = (line.strip() for text in asked for line in text.split("\n"))
    line = next((line for line in lines if line and line[0] not in "<#"), "")
    return line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1]}…"


def _times(records: Sequence[Record], fallback: int) -> dict[str, int]:
    """Return when each record was written, as far as one can tell, in milliseconds."""
    times: dict[str, int] = {}
    for record in records:
        behind = times[record.parent] + 1 if record.parent is not None else fallback
        times[record.key] = record.created or behind
    return times


def _message(
    program: str, record: Record, branch: str, ids: dict[str, MessageId], times: dict[str, int]
) -> Message:
    return Message(
        id=ids[record.key],
        role=record.role,
        parents=() if record.parent is None else (ids[record.parent],),
        branch=branch,
        created=times[record.key],
        author=Author("import", program, record.name or record.model or record.role),
        parts=record.parts,
        status=record.status,
        model=record.model,
        usage=record.usage,
        stop_reason=record.stop_reason,
    )
