"""
Rows and pages of the stored index: how a message stands in them, and how they are told to be whole.

A row's checksum is over all of it but the page that its content stands on; a page's is
zlib's. ``indexes`` holds the sum over all rows of a conversation, which a change of some
keeps up by what it takes out and puts in, and with each tail the sum over its own rows.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

from crdt_conv.engine import ConversationInfo
from crdt_conv.errors import StoreCorrupt
from crdt_conv.ids import MessageId
from crdt_conv.messages.bodies import body_of, message_of
from crdt_conv.messages.fields import Json
from crdt_conv.messages.message import Message
from crdt_conv.messages.node import Node

Execute = Callable[..., Any]
Place = int
Bodies = dict[str, Json]
T = TypeVar("T")

PAGE: Final = 256
"""How many messages a page holds once it is packed."""
# Whole statements, and no pieces put together: the columns in the order of node_of.
ALL: Final = (
    "select place, id, role, parents, branch, created, status, hidden, blobs, source, content, page"
    " from messages where key = ? order by place"
)
SOME: Final = (
    "select place, id, role, parents, branch, created, status, hidden, blobs, source, content, page"
    " from messages where key = ? and place in (select value from json_each(?)) order by place"
)
ON_PAGES: Final = (
    "select place, id, role, parents, branch, created, status, hidden, blobs, source, content, page"
    " from messages where key = ? and page in (select value from json_each(?)) order by place"
)
LISTED: Final = "select id, title, created, updated, forked_from, archived from conversations"
_INSERT: Final = (
    "insert or replace into messages"
    " (key, place, id, role, parents, branch, created, status, hidden, blobs, source, content, page)"
    " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@contextmanager
def readable() -> Iterator[None]:
    """Let what no sound index holds be an error of ours."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, zlib.error) as error:
        raise StoreCorrupt("the stored index is damaged: opened for writing, it is made anew") from error


def check(*, is_whole: bool) -> None:
    """
    Refuse what has not its checksum.

    Raises:
        StoreCorrupt: It has not.
    """
    if not is_whole:
        raise StoreCorrupt("the stored index is not as it was written: opened for writing, it is made anew")


def total_of(rows: Iterable[Sequence[Any]]) -> int:
    """Return the sum over the checksums of rows."""
    crc32 = zlib.crc32
    return sum(crc32(repr(row[:11]).encode("utf-8", "backslashreplace")) for row in rows)


def node_of(row: Sequence[Any]) -> Node:
    """Return what the graph knows of the message in a row."""
    _, message_id, role, parents, branch, created, status, hidden, blobs, source, _, _ = row
    blobs = tuple(json.loads(blobs)) if blobs else ()
    return Node(message_id, role, _ids(parents), branch, created, status, hidden, blobs, _ids(source))


def info_of(row: Sequence[Any]) -> ConversationInfo:
    """Return what the list shows of the conversation in a row."""
    conversation, title, created, updated, forked_from, archived = row
    return ConversationInfo(conversation, title, created, updated, forked_from, archived == 1)


def _ids(text: str) -> tuple[MessageId, ...]:
    # One, as most have, stands there as it is; several as JSON.
    return () if not text else (MessageId(text),) if text[0] != "[" else tuple(json.loads(text))


def _ids_text(ids: Sequence[MessageId]) -> str:
    is_plain = len(ids) == 1 and ids[0][:1] not in ("", "[")
    return "" if not ids else ids[0] if is_plain else json.dumps(ids)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items, so many at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def write_page(execute: Execute, key: int, batch: Sequence[tuple[Sequence[Any], Message]]) -> None:
    """Write messages, each behind its row, on a new page."""
    page = execute("select coalesce(max(page), 0) + 1 from pages where key = ?", (key,)).fetchone()[0]
    bodies = {str(row[0]): body_of(message) for row, message in batch}
    data = zlib.compress(json.dumps(bodies, ensure_ascii=False, separators=(",", ":")).encode())
    execute("insert into pages values (?, ?, ?, ?)", (key, page, len(batch), data))
    for row, _ in batch:
        execute(_INSERT, (key, *row, page))


def row_of(place: Place, message: Message, content: bytes) -> tuple[Any, ...]:
    """Return a message's row, less the page that its content stands on."""
    blobs = json.dumps(message.blobs) if message.blobs else ""
    return (
        *(place, message.id, message.role, _ids_text(message.parents), message.branch, message.created),
        *(message.status, message.hidden_count, blobs, _ids_text(message.source), content),
    )


def messages_of(execute: Execute, key: int, rows: Sequence[Sequence[Any]]) -> dict[Place, Message]:
    """
    Return the messages of some rows with their content, by their places.

    Raises:
        StoreCorrupt: Something of them is damaged.
    """
    with readable():
        bodies = _read_pages(execute, key, {row[-1] for row in rows})
        return {row[0]: message_of(node_of(row), bodies[row[-1]][str(row[0])]) for row in rows}


def _read_pages(execute: Execute, key: int, pages: set[int]) -> dict[int, Bodies]:
    rows = execute(
        "select page, data from pages where key = ? and page in (select value from json_each(?))",
        (key, json.dumps(sorted(pages))),
    )
    return {page: json.loads(zlib.decompress(data)) for page, data in rows.fetchall()}
