"""Pages of a list: an opaque cursor says where the next one begins."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from syncd.api.encoding import decode_json, encode_json
from syncd.api.operations import Parameter
from syncd.api.problems import invalid

LIMIT: Final = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
    "How many at most.",
)
CURSOR: Final = Parameter(
    "cursor",
    {"type": "string", "maxLength": 2000},
    "The `next` of the page before; the first page without it.",
)
LINK: Final = {"Link": 'The next page, where there is one: <...>; rel="next".'}


def encode_cursor(place: list[Any]) -> str:
    """Return a place as text for a URL."""
    return base64.urlsafe_b64encode(encode_json(place)).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> list[Any]:
    """
    Return a place.

    Args:
        cursor: What ``encode_cursor`` made.
        kinds: The types of what is in it.

    Raises:
        Problem: It is no cursor.
    """
    try:
        place = decode_json(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
    except (ValueError, binascii.Error):
        place = None
    if not isinstance(place, list) or [type(item) for item in place] != [*kinds]:
        raise invalid("cursor", "is no cursor: take it as it came, or leave it out")
    return place


def link_to(request: Request, cursor: str | None) -> dict[str, str]:
    """Return the header that leads to the next page (RFC 8288)."""
    if cursor is None:
        return {}
    query = {**request.query_params, "cursor": cursor}
    # Relative: who serves this knows what it is called outside.
    return {"Link": f'<?{urlencode(query)}>; rel="next"'}
