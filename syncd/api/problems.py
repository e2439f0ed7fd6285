"""
Refusals as problem details (RFC 9457): one form for everything that the API says no with.

``detail`` says what to do about it; ``errors`` names the fields of a request that is not
as described. No text of an unforeseen exception ever leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from crdt_conv import (
    ConversationDeleted,
    CrdtConvError,
    MalformedUpdate,
    StoreCorrupt,
    StoreError,
    StoreFull,
    UnknownBranch,
    UnknownConversation,
    UnknownMessage,
    UnknownRun,
    UsageError,
)
from syncd.api.encoding import encode_json
from syncd.api.shapes import Fault
from syncd.auth import AccessDenied

MEDIA: Final = "application/problem+json"
RETRY_S: Final = 5
"""When to come back, where waiting helps."""
RETRY_FULL_S: Final = 60
"""The same where somebody has to make room first."""


class Problem(Exception):
    """An answer that says no."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """
        Make one.

        Args:
            status: HTTP's.
            detail: What is wrong, for people.
            faults: Which fields are wrong.
            headers: Further headers.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = faults
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return it as an answer."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.faults:
            body["errors"] = [fault._asdict() for fault in self.faults]
        return Response(encode_json(body), self.status, self.headers, MEDIA)


def invalid(pointer: str, detail: str) -> Problem:
    """Return the problem with one field of a request: a JSON pointer, or a parameter's name."""
    return Problem(422, f"{pointer}: {detail}", faults=[Fault(pointer, detail)])


def denied(error: AccessDenied) -> Problem:
    """Return the problem of somebody who is not let in; its code is that of a WebSocket."""
    if error.code == 4401:
        return Problem(401, f"{error.reason}: Authorization: Bearer", headers={"WWW-Authenticate": "Bearer"})
    if error.code == 4403:
        return Problem(403, error.reason)
    if error.code == 4429:
        return Problem(429, error.reason, headers={"Retry-After": str(RETRY_S)})
    return Problem(503, error.reason, headers={"Retry-After": str(RETRY_S)})


_STATUS: Final[Sequence[tuple[type[CrdtConvError], int]]] = (
    (ConversationDeleted, 410),
    (UnknownConversation, 404),
    (UnknownBranch, 404),
    (UnknownMessage, 404),
    (UnknownRun, 404),
    (UsageError, 422),
    (MalformedUpdate, 400),
    (StoreCorrupt, 500),
    (StoreError, 503),
)


def problem_of(error: CrdtConvError) -> Problem:
    """Return the problem that an error of the canonical state is over HTTP."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, StoreFull):
        detail = (
            "the server's disk is full: nothing was lost, and nothing more can be written until there is room"
        )
        return Problem(503, detail, headers={"Retry-After": str(RETRY_FULL_S)})
    if status == 500:
        return Problem(500, "the server's store is damaged here: its operator finds out with 'syncd check'")
    if status == 503:
        # Its text names files of the server.
        return Problem(503, "the store can't do this now", headers={"Retry-After": str(RETRY_S)})
    return Problem(status, str(error))


async def http_exception(_request: Request, error: Exception) -> Response:
    """Answer what Starlette's own router refuses: register it for ``HTTPException``."""
    assert isinstance(error, HTTPException)
    return Problem(error.status_code, error.detail, headers=error.headers).response()
