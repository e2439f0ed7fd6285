"""Messages: written, and branches merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from crdt_conv import MAIN, InvalidMessage, Part, UnknownBranch, UnknownMessage, new_part
from crdt_conv.messages.fields import is_exact
from syncd.api.call import Call, field
from syncd.api.encoding import JsonResponse
from syncd.api.operations import Answer, Body, Operation
from syncd.api.problems import invalid
from syncd.api.schemas import NEW_MERGE, NEW_MESSAGE, ref
from syncd.auth import Right
from syncd.view import message_json

MESSAGE_BYTES: Final = 8 * 1024 * 1024


async def append_message(call: Call) -> Response:
    """Write a message."""
    fields = await call.json()
    parts = [_part(place, part) for place, part in enumerate(fields.get("parts", ()))]
    conversation = call.conversation()
    try:
        message = conversation.append(
            fields["role"],
            fields.get("text"),
            parts=parts,
            branch=fields.get("branch", MAIN),
            parents=fields.get("parents"),
        )
    except UnknownBranch as error:
        raise invalid(field("branch"), f"{error}: with 'parents' it is a new one") from error
    except UnknownMessage as error:
        raise invalid(field("parents"), str(error)) from error
    return JsonResponse(message_json(conversation, message), 201)


def _part(place: int, fields: Mapping[str, Any]) -> Part:
    content = {key: value for key, value in fields.items() if key not in ("id", "type")}
    if not all(map(is_exact, content.values())):
        raise invalid(f"{field('parts')}/{place}", "a value that not every replica could read as it is")
    part = replace(new_part(fields["type"]), content=content)
    return replace(part, id=fields["id"]) if "id" in fields else part


async def merge_branches(call: Call) -> Response:
    """Join a branch into another."""
    fields = await call.json()
    source, into = fields["from"], fields.get("into", MAIN)
    conversation = call.conversation()
    try:
        message = conversation.merge(source, into)
    except UnknownBranch as error:
        raise invalid(field("from" if error.branch == source else "into"), str(error)) from error
    except InvalidMessage as error:
        raise invalid(field("from"), str(error)) from error
    if message is None:
        return Response(status_code=204)
    return JsonResponse(message_json(conversation, message), 201)


OPERATIONS: Final = (
    Operation(
        "appendMessage",
        "POST",
        "/conversations/{conversation}/messages",
        "Write a message",
        append_message,
        Right.WRITE,
        {201: Answer("It is on disk.", ref("Message"))},
        body=Body(NEW_MESSAGE, limit_bytes=MESSAGE_BYTES),
    ),
    Operation(
        "mergeBranches",
        "POST",
        "/conversations/{conversation}/merge",
        "Join a branch into another; the same merge made twice is one message",
        merge_branches,
        Right.WRITE,
        {
            201: Answer("The merge message.", ref("Message")),
            204: Answer("The target holds all of the source already.", media=None),
        },
        body=Body(NEW_MERGE),
    ),
)
