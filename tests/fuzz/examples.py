"""Valid examples that mutations begin with: always the same bytes, so that a seed says all."""

from __future__ import annotations

from typing import Any

import pycrdt

from syncd.protocol.awareness import encode_awareness
from syncd.protocol.frames import (
    Awareness,
    Denied,
    Frame,
    QueryAwareness,
    SyncStep1,
    SyncStep2,
    Unknown,
    Update,
    encode_frame,
)
from syncd.protocol.hocuspocus import codec
from syncd.protocol.lib0 import encode_var_bytes, encode_var_string, encode_var_uint
from syncd.protocol.refusals import Refusal, Status
from tests.crdt_conv import handmade as by_hand


def _typed() -> list[bytes]:
    """Return updates of somebody who types, deletes, and writes lists and maps."""
    document: pycrdt.Doc[Any] = pycrdt.Doc(client_id=1)
    made: list[bytes] = []
    subscription = document.observe(lambda event: made.append(event.update))
    text = document.get("t", type=pycrdt.Text)
    text += "héllo wörld"
    del text[3:6]
    text.format(0, 3, {"bold": True})
    messages = document.get("messages", type=pycrdt.Map)
    messages["m"] = pycrdt.Map({"role": "user", "parents": pycrdt.Array([]), "parts": [{"text": "hi"}]})
    messages["m"] = pycrdt.Map({"role": "user", "created": 5.5, "big": 2**60, "no": None})
    document.unobserve(subscription)
    return [*made, document.get_update()]


UPDATES = (
    *_typed(),
    by_hand.entry(7, "m1", text=by_hand.type_of(by_hand.TEXT)),
    by_hand.entry(300, "m2", hidden=by_hand.values(by_hand.nested(5)), parts=by_hand.type_of(by_hand.ARRAY)),
    by_hand.update(9, 4, [by_hand.item((4, by_hand.words("behind a gap")), "t")]),
    by_hand.update(2**31, 0, [by_hand.item(by_hand.type_of(by_hand.XML_ELEMENT, "p"), "x")]),
    by_hand.only_deletes(by_hand.deletion(1, (0, 3), (5, 2))),
    # What is nested: values, types in each other, beside each other, and inside what is no type.
    by_hand.update(8, 0, [by_hand.item(by_hand.values(by_hand.nested(50)), "choices", "x")]),
    by_hand.update(8, 1, [by_hand.item(by_hand.values(b"\x76\x01\x01k" * 9 + by_hand.NULL), "meta", "x")]),
    by_hand.update(6, 0, by_hand.nest("choices", by_hand.type_of(by_hand.MAP), 30, "k", client=6)),
    by_hand.update(5, 0, by_hand.nest("t", by_hand.type_of(by_hand.ARRAY), 30, client=5)),
    by_hand.update(4, 0, by_hand.nest("x", by_hand.type_of(by_hand.XML_ELEMENT, "p"), 30, client=4)),
    by_hand.update(3, 0, [by_hand.item(by_hand.values(by_hand.NULL), (7, at), "x") for at in range(5)]),
)
DELETES = tuple(by_hand.only_deletes(by_hand.deletion(client, (0, 3), (9, 1))) for client in (1, 300, 2**40))
STATE_VECTORS = (b"\0", b"\x01\x01\x05", b"\x02\x01\x05\xac\x02\x07", b"\x01\x80\x80\x80\x80\x08\x01")

PRESENCE = (
    encode_awareness([(1, 1, '{"name": "ann"}')]),
    encode_awareness([(2**52, 2, "null"), (3, 2**40, '{"cursor": [1, 2]}'), (4, 0, '"ö"')]),
)
_FRAMES: list[Frame] = [
    *map(SyncStep1, STATE_VECTORS),
    *map(SyncStep2, UPDATES),
    *map(Update, UPDATES),
    *map(Awareness, PRESENCE),
    Denied("no, nö"),
    QueryAwareness(),
    Unknown(200, b"rest"),
]
FRAMES = tuple(map(encode_frame, _FRAMES))
PRIMITIVES = tuple(
    encode_var_string(text, encode_var_bytes(text.encode(), encode_var_uint(number)))
    for number, text in ((0, ""), (300, "hi"), (2**53 - 1, "ö" * 200))
)
REFUSALS = (
    Refusal(Status.EVICTED, "gone").to_json().encode(),
    Refusal(Status.INVALID_UPDATE, 'ä \\ "').to_json().encode(),
    b'{"status": ["evicted"], "reason": {"a": [1, 2.5e3, null, true]}}',
)

_BOTH: list[codec.Body] = [
    codec.Sync(SyncStep1(b"\0")),
    codec.Sync(SyncStep2(UPDATES[0])),
    codec.Sync(Update(UPDATES[1])),
    codec.Awareness(PRESENCE[0]),
    codec.QueryAwareness(),
    codec.Stateless("hi"),
    codec.Close("x"),
]
_CLIENTS: list[codec.Body] = [*_BOTH, codec.Token("t"), codec.Token("t", "4")]
_SERVERS: list[codec.Body] = [
    *_BOTH,
    *(codec.Stateless(text.decode()) for text in REFUSALS),
    codec.TokenWanted(),
    codec.PermissionDenied("no"),
    codec.Authenticated(is_read_only=True),
    codec.SyncStatus(is_stored=False),
    codec.Unknown(99, b"rest"),
]
FROM_CLIENTS = (
    *(codec.encode("c", body, is_server=False) for body in _CLIENTS),
    codec.encode("c\0session", codec.Token("t"), is_server=False),
    codec.PING,
)
FROM_SERVERS = (*(codec.encode("c", body, is_server=True) for body in _SERVERS), codec.PONG)
