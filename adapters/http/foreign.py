"""The exceptions of ``httpx`` and ``httpx_sse``, by one table. No text of theirs is passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx
from httpx_sse import SSEError

from adapters.errors import AdapterError, ProviderUnavailable, RequestRefused, StreamBroken

BROKE_OFF: Final = "the answer broke off"
NO_PROVIDER: Final = "what answers at the model's address is no server of this kind"

_NOT_REACHED = "the model's server was not reached"
_NO_URL = "the model's address is no http:// or https:// URL"
_LAST_PORT = 65535

FOREIGN_ERRORS: Final[Sequence[tuple[type[Exception], type[AdapterError], str]]] = (
    # The first row that fits: subclasses stand before their bases.
    (SSEError, RequestRefused, NO_PROVIDER),
    (httpx.InvalidURL, RequestRefused, _NO_URL),
    (httpx.UnsupportedProtocol, RequestRefused, _NO_URL),
    (httpx.LocalProtocolError, RequestRefused, "the request breaks the rules of HTTP"),
    (httpx.TooManyRedirects, RequestRefused, NO_PROVIDER),
    (httpx.CookieConflict, RequestRefused, NO_PROVIDER),
    (httpx.ConnectError, ProviderUnavailable, _NOT_REACHED),
    (httpx.ConnectTimeout, ProviderUnavailable, _NOT_REACHED),
    (httpx.PoolTimeout, ProviderUnavailable, _NOT_REACHED),
    (httpx.ProxyError, ProviderUnavailable, _NOT_REACHED),
    (httpx.WriteError, ProviderUnavailable, _NOT_REACHED),
    (httpx.WriteTimeout, ProviderUnavailable, _NOT_REACHED),
    (httpx.HTTPError, StreamBroken, BROKE_OFF),
    (httpx.StreamError, StreamBroken, BROKE_OFF),
    # Raised while a request is written: a key that is not ASCII, half a surrogate pair.
    (ValueError, RequestRefused, "the key or the request holds what can't be sent"),
)


def map_error(error: Exception) -> AdapterError:
    """Return our error for one of the kinds in ``FOREIGN_ERRORS``."""
    ours, text = next((ours, text) for foreign, ours, text in FOREIGN_ERRORS if isinstance(error, foreign))
    return ours(f"{text} ({type(error).__name__})")


@asynccontextmanager
async def mapped_errors() -> AsyncIterator[None]:
    """Let every exception of the table leave as ours."""
    try:
        yield
    except tuple(row[0] for row in FOREIGN_ERRORS) as error:
        raise map_error(error) from error


def scheme_of(url: str) -> str:
    """
    Return ``http`` or ``https``.

    Raises:
        RequestRefused: The address is no such URL.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise map_error(error) from error
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > _LAST_PORT:
        raise RequestRefused(_NO_URL)
    return parsed.scheme
