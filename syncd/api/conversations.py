"""Conversations: listed, made, shown, deleted."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from starlette.responses import Response

from crdt_conv import MAIN, ConversationInfo
from syncd.api.call import Call
from syncd.api.encoding import JsonResponse
from syncd.api.operations import Answer, Body, Operation, Parameter
from syncd.api.pages import CURSOR, LIMIT, LINK, decode_cursor, encode_cursor, link_to
from syncd.api.problems import Problem
from syncd.api.schemas import BRANCH, NEW_CONVERSATION, ref
from syncd.auth import Right
from syncd.view import conversation_json, info_json

BRANCH_PARAMETER: Final = Parameter("branch", {**BRANCH, "default": MAIN}, "Which branch.")
HIDDEN: Final = Parameter(
    "hidden", {"type": "boolean", "default": False}, "Whether messages come with their hidden fields."
)


async def list_conversations(call: Call) -> Response:
    """List what the caller may read, the one that changed last first."""
    await call.catch_up()
    limit = call.query("limit") or LIMIT.schema["default"]
    cursor = call.query("cursor")
    before = tuple(decode_cursor(cursor, int, str)) if cursor is not None else None
    page: list[ConversationInfo] = []
    for info in call.store.list():
        if (before is None or (info.updated, info.id) < before) and await call.may_read(info.id):
            page.append(info)
        if len(page) > limit:
            break
    last = page[limit - 1] if len(page) > limit else None
    following = encode_cursor([last.updated, last.id]) if last is not None else None
    shown = {"conversations": [info_json(info) for info in page[:limit]], "next": following}
    return JsonResponse(shown, headers=link_to(call.request, following))


async def create_conversation(call: Call) -> Response:
    """Make one."""
    fields = await call.json()
    conversation_id = fields.get("id")
    await call.require(Right.WRITE, conversation_id)
    if conversation_id is not None and call.store.engine.has(conversation_id):
        raise Problem(409, "there is a conversation of this id already")
    created = call.store.create(fields.get("title", ""), conversation_id=conversation_id)
    location = f"{call.request.url.path}/{quote(created.id, safe='')}"
    return JsonResponse({"id": created.id}, 201, headers={"Location": location})


async def show_conversation(call: Call) -> Response:
    """Show the log of a branch."""
    branch, hidden = call.query("branch") or MAIN, call.query("hidden") or False
    return JsonResponse(conversation_json(call.conversation(), branch, hidden=hidden))


async def delete_conversation(call: Call) -> Response:
    """Delete for good."""
    call.store.delete(call.conversation_id)
    return Response(status_code=204)


OPERATIONS: Final = (
    Operation(
        "listConversations",
        "GET",
        "/conversations",
        "The conversations, the one that changed last first",
        list_conversations,
        None,
        {200: Answer("A page of them.", ref("Listing"), headers=LINK)},
        parameters=(LIMIT, CURSOR),
        note="Shows what the caller may read.",
    ),
    Operation(
        "createConversation",
        "POST",
        "/conversations",
        "Make a conversation",
        create_conversation,
        None,
        {201: Answer("It is there.", ref("Created"), headers={"Location": "Where it is."})},
        body=Body(NEW_CONVERSATION, is_required=False),
        note="Needs the right `write` in the conversation of this id, without one in the whole server.",
        refusals=(409, 410),
    ),
    Operation(
        "showConversation",
        "GET",
        "/conversations/{conversation}",
        "The log of a branch, as `conv show --json` prints it",
        show_conversation,
        Right.READ,
        {200: Answer("The log.", ref("Conversation"))},
        parameters=(BRANCH_PARAMETER, HIDDEN),
    ),
    Operation(
        "deleteConversation",
        "DELETE",
        "/conversations/{conversation}",
        "Delete for good; a tombstone stays, and connected clients are told",
        delete_conversation,
        Right.ADMIN,
        {204: Answer("It is gone.", media=None)},
    ),
)
