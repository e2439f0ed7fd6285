"""
Close codes, in bands: 44xx are final, everything else means come back.

y-websocket 3.1 and y/hub keep to the same bands. Hocuspocus' 4408 (a timeout, so
transient) is never sent on this dialect: it would stop a client for good.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """The codes that we send."""

    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_FRAME = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    DELETED = 4404
    TIMEOUT = 4508


def is_final(code: int) -> bool:
    """Whether a client that is closed with this code must not come back by itself."""
    return 4400 <= code <= 4499
