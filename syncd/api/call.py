"""
One request on its way through an operation: who asks, for what, with which parameters and body.

Everything that a handler reads was checked against the operation's own description.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import anyio
from starlette.requests import Request

from crdt_conv import Conversation, ConversationId, Store
from syncd.answering import Answering
from syncd.api.encoding import decode_json
from syncd.api.operations import JSON, OCTETS, Operation, Parameter
from syncd.api.problems import Problem, denied, invalid
from syncd.api.shapes import Fault, escaped, faults
from syncd.auth import AccessDenied, Credentials, Gate, Grant, Right
from syncd.auth.http import credentials_of
from syncd.logs.events import event
from syncd.logs.quotas import Quotas

logger = logging.getLogger("syncd")

GATE_S: Final = 10.0
"""A gate that does not answer in so long has said no, for now."""
BODY_S: Final = 30.0
"""So long may a body pause."""


class Call:
    """One request. Used from one event loop."""

    def __init__(self, request: Request, operation: Operation, path: Mapping[str, str]) -> None:
        self.request = request
        self.operation = operation
        self.path = path
        self.credentials: Credentials = credentials_of(request)
        self._readable: dict[str, bool] = {}

    @property
    def store(self) -> Store:
        """The daemon's store."""
        store: Store = self.request.app.state.hub.store
        return store

    @property
    def answering(self) -> Answering | None:
        """The daemon's models, where it has any."""
        return getattr(self.request.app.state, "answering", None)

    @property
    def conversation_id(self) -> ConversationId:
        """The conversation that the path names."""
        return ConversationId(self.path["conversation"])

    def conversation(self, conversation_id: str | None = None) -> Conversation:
        """
        Return the conversation that the path names, or another one.

        Raises:
            UnknownConversation: It is not here; ``ConversationDeleted`` where it was.
            StoreError: It can't be read.
        """
        # What a client was told is on disk is read, however far the follower is behind.
        wanted = self.conversation_id if conversation_id is None else conversation_id
        self.request.app.state.hub.follower.catch_up_with(wanted)
        return self.store.open(wanted)

    async def catch_up(self) -> None:
        """See to it that what clients were told is on disk is listed, and found."""
        await self.request.app.state.hub.follower.caught_up()

    # Who asks

    async def admit(self) -> None:
        """
        Let the request in, or refuse it before anything of it is read.

        Raises:
            Problem: 401, 403, or 503 where nobody can say.
        """
        if self.operation.right is None:
            # Who may see something and who may not is looked at thing by thing; that they are known, here.
            try:
                await self.grant(None)
            except AccessDenied as error:
                if error.code != 4403:
                    self._write_denied(None, error)
                    raise denied(error) from error
            return
        await self.require(self.operation.right, self._where())

    def _where(self) -> str | None:
        if any(parameter.name == "conversation" for parameter in self.operation.parameters):
            named: str | None = self.query("conversation")
            return named
        return self.path.get("conversation")

    async def require(self, right: Right, conversation: str | None) -> Grant:
        """
        Refuse who lacks a right; returns what they may do.

        Raises:
            Problem: 401, 403, or 503 where nobody can say.
        """
        try:
            grant = await self.grant(conversation)
        except AccessDenied as error:
            self._write_denied(conversation, error)
            raise denied(error) from error
        if not grant.may(right):
            problem = Problem(403, f"this needs the right to {right}")
            self._write_denied(conversation, AccessDenied(problem.detail, 4403), grant.subject)
            raise problem
        return grant

    def _write_denied(self, conversation: str | None, error: AccessDenied, sub: str = "") -> None:
        quotas: Quotas = self.request.app.state.hub.quotas
        omitted = quotas.take("access_denied", self.credentials.client, time.monotonic())
        if omitted is None:
            return
        extra = event(
            "access_denied",
            conversation=conversation,
            dialect="api",
            sub=sub,
            client=self.credentials.client,
            code=int(error.code),
            reason=error.reason,
            omitted=omitted or None,
        )
        logger.warning("not let in", extra=extra)

    async def grant(self, conversation: str | None) -> Grant:
        """
        Ask the gate.

        Raises:
            AccessDenied: It said no, or does not answer.
        """
        gate: Gate = self.request.app.state.gate
        try:
            with anyio.fail_after(GATE_S):
                return await gate.admit(self.credentials, conversation)
        except TimeoutError:
            raise AccessDenied("who you are can't be checked now: come back", 1013) from None

    async def may_read(self, conversation: str) -> bool:
        """Whether the caller may see a conversation; asked once in a request."""
        if conversation not in self._readable:
            try:
                grant = await self.grant(conversation)
            except AccessDenied:
                self._readable[conversation] = False
            else:
                self._readable[conversation] = grant.may(Right.READ)
        return self._readable[conversation]

    # What is asked

    def query(self, name: str) -> Any:
        """
        Return a parameter, or ``None``.

        Raises:
            Problem: It is not as described.
        """
        parameter = next(known for known in self.operation.parameters if known.name == name)
        source = self.request.headers if parameter.place == "header" else self.request.query_params
        given = source.get(name)
        if given is None:
            if parameter.is_required:
                raise invalid(name, "is missing")
            return None
        value = _read(parameter, given)
        for fault in faults(value, parameter.schema):
            raise invalid(name, fault.detail)
        return value

    async def json(self) -> dict[str, Any]:
        """
        Return the body, as its schema says.

        Raises:
            Problem: 400, 408, 413, 415 or 422.
        """
        body = self.operation.body
        assert body is not None
        assert body.schema is not None
        self._check_media(body.media)
        data = bytearray()
        async for chunk in self.chunks():
            data += chunk
        try:
            value = decode_json(bytes(data)) if data or body.is_required else {}
        except ValueError as error:
            raise Problem(400, f"the body: {error}") from None
        found = [Fault(f"#{fault.pointer}", fault.detail) for fault in faults(value, body.schema)]
        if found:
            raise Problem(422, "the body is not as described: /openapi.json says how", faults=found[:20])
        fields: dict[str, Any] = value
        return fields

    async def chunks(self) -> AsyncIterator[bytes]:
        """
        Yield the body as it comes.

        Raises:
            Problem: 408 where it pauses too long, 413 where there is too much of it.
        """
        body = self.operation.body
        assert body is not None
        too_much = Problem(
            413, f"a body has at most {body.limit_bytes} bytes", headers={"Connection": "close"}
        )
        announced = self.request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > body.limit_bytes:
            raise too_much
        size = 0
        stream = aiter(self.request.stream())
        while (chunk := await _next(stream)) is not None:
            size += len(chunk)
            if size > body.limit_bytes:
                raise too_much
            yield chunk

    def _check_media(self, media: str) -> None:
        given = self.request.headers.get("content-type", media).partition(";")[0].strip().lower()
        is_fit = given == media or (media == JSON and given.endswith("+json")) or media == OCTETS
        if not is_fit:
            raise Problem(415, f"the body must be {media}", headers={"Accept-Post": media})
        if self.request.headers.get("content-encoding", "identity") != "identity":
            raise Problem(415, "the body must not be compressed", headers={"Accept-Encoding": "identity"})


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    try:
        with anyio.fail_after(BODY_S):
            return await anext(stream, None)
    except TimeoutError:
        raise Problem(408, "the body did not come in time", headers={"Connection": "close"}) from None


def _read(parameter: Parameter, given: str) -> Any:
    kind = parameter.schema.get("type")
    if kind == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(given, given)
    if kind != "integer":
        return given
    # Not int() alone: that takes spaces, signs, and digits of every script.
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 16 else given


def field(name: str) -> str:
    """Return the pointer to a field of a body."""
    return f"#/{escaped(name)}"
