"""
A conversation as one JSON value, and back: the lossless export.

Export and import give the same messages with the same ids, nonces and hidden fields, and so the same
digests. Blobs go along as base64. What is not kept: the Yjs
history, drafts, and entries that no reader understands.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Any, Final

from crdt_conv import Conversation, HiddenField, InvalidMessage, Message
from crdt_conv.errors import MalformedEntry
from crdt_conv.messages.fields import ordered
from crdt_conv.messages.hidden import parse_hidden
from crdt_conv.messages.message import parse_message
from crdt_conv.yjs.encoding import ListOf, MapOf
from syncd.interchange.records import ImportRefused, an_object, objects
from syncd.interchange.writing import AT_ONCE, Written
from syncd.view import hidden_json

FORMAT: Final = "crdt-conv"
VERSION: Final = 1
ROOTS: Final = ("meta", "branches", "choices", "runs")
"""What is in it besides messages."""


def encode_conversation(conversation: Conversation) -> dict[str, Any]:
    """Return everything that a conversation says, as JSON."""
    messages = _in_order(conversation.messages())
    hidden = {message.id: conversation.hidden(message.id) for message in messages if message.hidden_count}
    named = {name for message in messages for name in message.blobs} - {
        field.blob for fields in hidden.values() for field in fields
    }
    blobs = {name: data for name in sorted(named) if (data := conversation.blob(name)) is not None}
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": conversation.id,
        **{root: ordered(conversation.read(root)) for root in ROOTS},
        "messages": [_encode(message, hidden.get(message.id, ())) for message in messages],
        "blobs": {name: base64.b64encode(data).decode() for name, data in blobs.items()},
    }


def _in_order(messages: Sequence[Message]) -> list[Message]:
    """Return messages with parents first, else by time: the same on every device."""
    by_id = {message.id: message for message in messages}
    children: dict[str, list[Message]] = {}
    missing: dict[str, int] = {}
    for message in messages:
        parents = {parent for parent in message.parents if parent in by_id}
        missing[message.id] = len(parents)
        for parent in parents:
            children.setdefault(parent, []).append(message)
    ready = [message.order for message in messages if not missing[message.id]]
    heapify(ready)
    ordered: list[Message] = []
    while ready:
        message = by_id[heappop(ready)[1]]
        ordered.append(message)
        for child in children.get(message.id, ()):
            missing[child.id] -= 1
            if not missing[child.id]:
                heappush(ready, child.order)
    return ordered


def _encode(message: Message, hidden: Any) -> dict[str, Any]:
    shown = message.as_json()
    del shown["text"]
    return shown | {"nonce": message.nonce.hex(), "hidden": [hidden_json(field) for field in hidden]}


def is_whole(value: Any) -> bool:
    """Whether a JSON value is such an export."""
    return an_object(value).get("format") == FORMAT


def decode_conversation(conversation: Conversation, value: Mapping[str, Any]) -> Written:
    """
    Write what is new of an export.

    Raises:
        ImportRefused: It is of a later version, or not what it says it is.
        StoreError: It could not be made durable.
    """
    if value.get("version") != VERSION:
        raise ImportRefused(f"it is of version {value.get('version')!r}, and this program reads {VERSION}")
    try:
        for data in an_object(value.get("blobs")).values():
            conversation.attach_bytes(base64.b64decode(data, validate=True), mime="")
        entries = objects(value.get("messages"))
        messages = [_decode(entry) for entry in entries]
        hidden = {str(entry["id"]): _hidden(entry) for entry in entries}
        new = 0
        for start in range(0, len(messages), AT_ONCE):
            new += len(conversation.insert(messages[start : start + AT_ONCE], hidden))
    except (MalformedEntry, InvalidMessage, binascii.Error, ValueError, TypeError) as error:
        raise ImportRefused(f"it is no whole export of a conversation: {error}") from error
    _decode_rest(conversation, value)
    branches = len(conversation.branches)
    return Written(conversation.id, conversation.title, FORMAT, new, branches)


def _decode_rest(conversation: Conversation, value: Mapping[str, Any]) -> None:
    """Write down what is not there of the title, branches, choices and runs."""
    with conversation.writing() as document:
        for root in ROOTS:
            there = document.read(root)
            for key, entry in an_object(value.get(root)).items():
                if key not in there:
                    document.put(root, key, _shared(root, entry))


def _shared(root: str, entry: Any) -> Any:
    if not isinstance(entry, dict) or root == "meta":
        return entry
    growing = {key: ListOf(entry.get(key) or ()) for key in ("claims", "outputs")} if root == "runs" else {}
    return MapOf({**entry, **growing})


def _decode(entry: dict[str, Any]) -> Message:
    message = parse_message(
        str(entry["id"]), {key: item for key, item in entry.items() if key not in {"nonce", "hidden"}}
    )
    return replace(message, nonce=bytes.fromhex(entry.get("nonce", "")))


def _hidden(entry: dict[str, Any]) -> list[HiddenField]:
    return [_hidden_field(field) for field in objects(entry.get("hidden"))]


def _hidden_field(raw: dict[str, Any]) -> HiddenField:
    field = parse_hidden({key: value for key, value in raw.items() if key != "data_base64"})
    if "data_base64" in raw:
        field = replace(field, data=base64.b64decode(raw["data_base64"], validate=True))
    # Its data is here: whether it is a blob is decided anew.
    return replace(field, blob=None, encoding=None) if field.data is not None else field
