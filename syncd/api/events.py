"""What happens in a conversation, as server-sent events."""

from __future__ import annotations

from typing import Any, Final

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import ASGIApp

from crdt_conv import Conversation, StoreError, UnknownMessage, UnknownRun
from syncd.api.call import Call
from syncd.api.feed import RESET, Feed, Reader
from syncd.api.missed import Topic
from syncd.api.operations import EVENTS, Answer, Operation, Parameter
from syncd.api.problems import RETRY_S, Problem
from syncd.api.schemas import TEXT, ref
from syncd.api.streams import STREAMS, EventStream, Rights, feed_of
from syncd.auth import AccessDenied, Grant, Right
from syncd.view import branch_json, message_json

LAST_EVENT_ID: Final = Parameter(
    "Last-Event-ID",
    {"type": "string", "maxLength": 200},
    "The id of the last event that was seen.",
    place="header",
)
DATA: Final = {
    "anyOf": [
        ref("Message"),
        ref("Run"),
        {"type": "object", "properties": {"id": TEXT, "title": TEXT}},
        {"type": "object", "properties": {"branches": {"type": "array", "items": ref("Branch")}}},
        {"type": "object", "properties": {"reason": TEXT}},
    ],
    "description": "Of each event, by its name: `message` (a Message), `run` (a Run), `title` ({id, title}), "
    "`branches` ({branches}), `deleted` ({id}), `reset` ({reason}: read the log again), `ready` ({}).",
}


GATHER_S: Final = 0.25
"""Which conversations change is told at most so often."""


async def stream_events(call: Call) -> ASGIApp:
    """Stream what happens."""
    last_event_id = call.query("Last-Event-ID")
    conversation, app = call.conversation(), call.request.app
    grant = await call.require(Right.READ, conversation.id)
    if call.request.method == "HEAD":
        return Response(media_type=EVENTS)
    feed, reader = _open(app, conversation.id, last_event_id)
    # The feed hears of all conversations; this one is to be brought up to date soon.
    unwatch = conversation.subscribe(lambda _: None)
    rights = Rights(app.state.gate, grant, lambda: call.grant(conversation.id))

    async def show(topic: Topic) -> Any:
        return _show(conversation, topic)

    def leave() -> None:
        unwatch()
        feed.leave(conversation.id, reader)

    return EventStream(reader, show, rights, leave)


def _open(app: Starlette, conversation: str | None, last_event_id: str | None) -> tuple[Feed, Reader]:
    feed = feed_of(app)
    if feed.has_ended or len(feed) >= STREAMS:
        raise Problem(503, "no more streams now: come back", headers={"Retry-After": str(RETRY_S)})
    return feed, feed.open(conversation, last_event_id)


async def stream_all(call: Call) -> ASGIApp:
    """Stream which conversations change."""
    last_event_id, app = call.query("Last-Event-ID"), call.request.app
    grant = await _known(call)
    if call.request.method == "HEAD":
        return Response(media_type=EVENTS)
    feed, reader = _open(app, None, last_event_id)

    async def show(topic: Topic) -> Any:
        if topic == RESET:
            return {"reason": "something was missed: list the conversations again"}
        return {"id": topic.id} if await _may_read(call, topic.id) else None

    rights = Rights(app.state.gate, grant, lambda: _known(call))
    return EventStream(reader, show, rights, lambda: feed.leave(None, reader), pause_s=GATHER_S)


async def _known(call: Call) -> Grant:
    """Return that somebody may listen: whoever is known, for each thing is looked at by itself."""
    try:
        grant = await call.grant(None)
    except AccessDenied as error:
        if error.code != 4403:
            raise
        return Grant("", frozenset({Right.READ}))
    return Grant(grant.subject, frozenset({Right.READ}), grant.expires_s)


async def _may_read(call: Call, conversation: str) -> bool:
    # Asked each time: rights may have changed since.
    try:
        return (await call.grant(conversation)).may(Right.READ)
    except AccessDenied:
        return False


def _show(conversation: Conversation, topic: Topic) -> Any:
    try:
        match topic.kind:
            case "message":
                return message_json(conversation, conversation.message(topic.id))
            case "run":
                return conversation.runs[topic.id].as_json()
            case "title":
                return {"id": conversation.id, "title": conversation.title}
            case "branches":
                return {"branches": [branch_json(conversation, name) for name in conversation.branches]}
            case "deleted":
                return {"id": conversation.id}
    except (UnknownMessage, UnknownRun, StoreError):
        # Quarantined, or the event that says why comes next.
        return None
    assert topic == RESET
    return {"reason": "something was missed: read the log again"}


OPERATIONS: Final = (
    Operation(
        "streamAllEvents",
        "GET",
        "/events",
        "Which conversations change, as server-sent events",
        stream_all,
        None,
        {
            200: Answer(
                "Events, until either end has enough: `conversation` ({id}: new, or changed), "
                "`deleted` ({id}), `reset` ({reason}: list them again), `ready` ({}).",
                {"type": "object", "properties": {"id": TEXT, "reason": TEXT}},
                EVENTS,
            )
        },
        parameters=(LAST_EVENT_ID,),
        note="Tells of what the caller may read.",
    ),
    Operation(
        "streamEvents",
        "GET",
        "/conversations/{conversation}/events",
        "What happens in a conversation, as server-sent events that resume with Last-Event-ID",
        stream_events,
        Right.READ,
        {200: Answer("Events, until either end has enough.", DATA, EVENTS)},
        parameters=(LAST_EVENT_ID,),
    ),
)
