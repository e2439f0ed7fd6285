"""
Answers that the provider makes by itself, whoever listens (``background: true``; facts, 2.7).

The answer's name is on record in the run as soon as it is known (``BACKGROUND`` in ``sent.reused``). A
connection that breaks is opened again behind the last event's sequence number; whoever takes a run over
from a dead owner fetches the answer from its beginning, and nothing is paid for twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

import anyio

from adapters.errors import AdapterError, ProviderUnavailable, StreamBroken
from adapters.exchange import Request
from adapters.openai_responses.kinds import ENDS

BACKGROUND: Final = "background_response"
MAX_REOPENED: Final = 4
"""So often in a row is a stream opened again without an event: some answers stay queued for ever."""
FIRST_DELAY_S = 0.5

Events = AsyncGenerator[Mapping[str, Any], None]


def is_background(request: Request) -> bool:
    """Whether a request asks for such an answer."""
    return (request.body or {}).get("background") is True


def id_of(event: Mapping[str, Any]) -> str | None:
    """Return the name of the answer, where an event tells it."""
    response = event.get("response")
    named = response.get("id") if isinstance(response, dict) else None
    return named if isinstance(named, str) and named else None


def reopening(response: str, after: int | None) -> Request:
    """Return the request for an answer's events behind a sequence number; all of them without one."""
    behind = "" if after is None else f"&starting_after={after}"
    return Request(f"{_path(response)}?stream=true{behind}", None, method="GET")


def cancelling(response: str) -> Request:
    """Return the request that ends an answer."""
    return Request(f"{_path(response)}/cancel", {})


def _path(response: str) -> str:
    return f"/responses/{quote(response, safe='')}"


async def lasting(call: Callable[[Request], Events], request: Request, response: str | None = None) -> Events:
    """
    Yield the events of an answer, through connections that break.

    Args:
        call: Makes a call, and yields its events.
        request: The first call.
        response: The answer's name, where it is known before.

    Raises:
        AdapterError: It was refused, or can't be reached any more.
    """
    after: int | None = None
    tries = 0
    while True:
        try:
            async with aclosing(call(request)) as events:
                async for event in events:
                    number, tries = event.get("sequence_number"), 0
                    after = number if isinstance(number, int) else after
                    response = id_of(event) or response
                    yield event
                    if event.get("type") in ENDS:
                        return
            raise StreamBroken("the answer broke off before its end")
        except (StreamBroken, ProviderUnavailable) as error:
            tries += 1
            if response is None or tries > MAX_REOPENED:
                raise
            await anyio.sleep(_delay_s(error, tries))
            request = reopening(response, after)


def _delay_s(error: AdapterError, tries: int) -> float:
    return error.retry_after_s if error.retry_after_s is not None else FIRST_DELAY_S * 2.0 ** (tries - 1)
