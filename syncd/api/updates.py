"""A document as bytes: all of it, or what a state vector lacks."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from starlette.responses import Response

from crdt_conv.yjs.encoded import EncodedDocument
from crdt_conv.yjs.updates import read_state_vector
from syncd.api.call import Call
from syncd.api.operations import OCTETS, Answer, Operation, Parameter
from syncd.api.problems import Problem
from syncd.auth import Right

STATE_VECTOR: Final = Parameter(
    "sv", {"type": "string", "maxLength": 100_000}, "A state vector as base64url; all of it without one."
)


async def encode_update(call: Call) -> Response:
    """Return what a state vector lacks; also what waits for something that has not come."""
    state_vector = _state_vector(call.query("sv"))
    conversation = call.conversation()
    # From the log: for this no document need be in memory.
    document = EncodedDocument(update for _, update in call.store.read(conversation.id))
    return Response(document.encode(state_vector), media_type=OCTETS)


def _state_vector(given: str | None) -> bytes:
    if not given:
        return b"\x00"
    try:
        data = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise Problem(400, "sv: is no base64url") from None
    read_state_vector(data)
    return data


OPERATIONS: Final = (
    Operation(
        "encodeUpdate",
        "GET",
        "/conversations/{conversation}/update",
        "The encoded document, or what a state vector lacks (Yjs update, V1)",
        encode_update,
        Right.READ,
        {200: Answer("An update.", media=OCTETS)},
        parameters=(STATE_VECTOR,),
        refusals=(400,),
    ),
)
