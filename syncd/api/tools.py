"""Tools: what a daemon's executor offers. Why a server is not there may quote it: for administrators."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from syncd.api.call import Call
from syncd.api.encoding import JsonResponse
from syncd.api.operations import Answer, Operation
from syncd.api.schemas import ref
from syncd.auth import Right


async def list_tools(call: Call) -> Response:
    """List what models may call here."""
    answering = call.answering
    return JsonResponse(dict(answering.tools()) if answering is not None else {"tools": [], "servers": []})


OPERATIONS: Final = (
    Operation(
        "listTools",
        "GET",
        "/admin/tools",
        "The tools that the executor offers to models, and how their servers stand",
        list_tools,
        Right.ADMIN,
        {200: Answer("All of them.", ref("Tools"))},
    ),
)
