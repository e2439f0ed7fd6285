"""Where the API is in an application."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from syncd.api.dispatch import Api
from syncd.api.encoding import JsonResponse
from syncd.api.openapi import describe
from syncd.api.table import OPERATIONS


def routes() -> list[BaseRoute]:
    """Return the routes below ``/api``, and that of their description."""
    described = JsonResponse(describe(OPERATIONS)).body

    async def description(_request: Request) -> Response:
        return Response(described, media_type="application/json", headers={"Cache-Control": "no-cache"})

    return [Route("/openapi.json", description), Mount("/api", Api(OPERATIONS))]
