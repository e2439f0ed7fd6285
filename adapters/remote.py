"""What all adapters for providers over HTTP have in common: the call, the place, the key."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Final, Literal

import anyio

from adapters.errors import RequestRefused
from adapters.exchange import Json, Note, Request
from adapters.http import Caller, Timeouts
from adapters.spaces import Place, account_of, space_of
from crdt_conv import Target

NEVER_SENT: Final = frozenset({"api_key", "authorization", "extra_headers", "headers", "x-api-key"})
"""A document is no place for a key: whoever syncs it would have it."""

OURS: Final = frozenset({"messages", "model", "stream", "stream_options", "tools"})
"""What the materializer writes itself."""


def key_of(api_key: str | None, *variables: str) -> str | None:
    """Return the key given, or the first that stands in the environment."""
    found = (os.environ[name] for name in variables if os.environ.get(name))
    return api_key if api_key is not None else next(found, None)


def params_of(
    target: Target, *, kept_back: frozenset[str] = frozenset()
) -> tuple[dict[str, Json], list[Note]]:
    """Return what a target asks for beside the model, and what of it is not sent."""
    refused = NEVER_SENT | OURS | kept_back
    sent = {key: value for key, value in sorted(target.params.items()) if key not in refused}
    notes = [
        Note(key, "this parameter is not taken from a run") for key in sorted(set(target.params) & refused)
    ]
    return sent, notes


class Remote:
    """The common half of an adapter: one address, one account, one call."""

    name: ClassVar[str]
    framing: ClassVar[Literal["sse", "ndjson"]] = "sse"
    is_claude: ClassVar[bool] = False

    def __init__(
        self,
        model: str,
        base_url: str,
        headers: Mapping[str, str],
        *,
        api_key: str | None = None,
        account: str | None = None,
        provider: str | None = None,
        timeouts: Timeouts | None = None,
        at_once: int = 4,
    ) -> None:
        self.model = model
        self.at_once = at_once
        self.base_url = base_url.rstrip("/")
        self._caller = Caller(base_url, headers, timeouts=timeouts)
        self._place = Place(
            provider or self.name,
            space_of(self.base_url, is_claude=self.is_claude),
            self.base_url,
            model,
            account_of(api_key, account),
        )

    def place(self, target: Target) -> Place:
        """
        Return where a run's request goes.

        Raises:
            RequestRefused: The run wants it elsewhere, where the key must not follow; or names no model.
        """
        if target.endpoint is not None and target.endpoint.rstrip("/") != self.base_url:
            raise RequestRefused(f"the run is for another endpoint than {self.name} has here")
        place, model = self._place, target.model or self.model
        if not model:
            raise RequestRefused(f"say which model of {self.name} is meant: there is no default")
        return Place(place.provider, place.space, place.endpoint, model, place.account)

    def placed(self, request: Request) -> Place:
        """Return where a request goes."""
        model = (request.body or {}).get("model")
        return self.place(Target(self.name, model if isinstance(model, str) else None))

    async def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any], None]:
        """
        Make the call.

        Raises:
            AdapterError: It was refused, or broke off.
        """
        async with aclosing(self._caller.events(request, framing=self.framing)) as events:
            async for event in events:
                yield event

    async def serve(self) -> None:
        """Keep connections for the next call, until cancelled."""
        async with self._caller:
            await anyio.sleep_forever()


def is_json(data: object) -> bool:
    """Whether a hidden field's data is JSON text: a stranger's may be anything."""
    if not isinstance(data, str):
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def maps(value: object) -> Sequence[dict[str, Any]]:
    """Return the objects of a list; nothing where it is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
