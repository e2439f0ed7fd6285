"""The adapter for the Responses API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

from adapters.exchange import Hidden, Report, Request, Tool
from adapters.http import Timeouts
from adapters.normalize import Progress
from adapters.openai_responses.background import (
    BACKGROUND,
    cancelling,
    is_background,
    lasting,
    reopening,
)
from adapters.openai_responses.ingest import ResponsesIngest
from adapters.openai_responses.materialize import ResponsesWriter, materialize
from adapters.remote import Remote, key_of
from adapters.spaces import space_of
from crdt_conv import Message, Target

# A key from the environment goes to its own provider alone.
_KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "azure": ("AZURE_OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "xai": ("XAI_API_KEY",),
}


class OpenAIResponses(Remote):
    """
    Answers with the Responses API.

    Where the provider still holds what was said, only what is new is sent (``previous_response_id``);
    where it has lost it, all of it, once. A run's parameter ``stateful: false``, or ``store: false``,
    sends all of it always.

    Example:
        ``OpenAIResponses("gpt-5.6")``
    """

    name: ClassVar[str] = "openai-responses"

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        account: str | None = None,
        timeouts: Timeouts | None = None,
        at_once: int = 4,
    ) -> None:
        """
        Choose the server.

        Args:
            model: The model that answers where a run leaves that open.
            base_url: Where requests go; ``/responses`` is put behind it.
            api_key: The key; the provider's own variable (``OPENAI_API_KEY``, …), where it is left out.
            account: A name for the account, so that its hidden fields outlive a change of key.
            timeouts: How long a call waits.
            at_once: How many answers at the same time.

        Raises:
            RequestRefused: The address is no URL.
        """
        self._progress: Progress[ResponsesWriter] = Progress()
        provider = space_of(base_url).partition(":")[0]
        key = key_of(api_key, *_KEYS.get(provider, ()))
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if provider == "azure" and key:
            headers = {"api-key": key}
        super().__init__(
            model,
            base_url,
            headers,
            api_key=key,
            account=account,
            provider="openai" if provider == "host" else provider,
            timeouts=timeouts,
            at_once=at_once,
        )

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        """Turn a log into a request; see ``materialize.materialize``."""
        return materialize(log, target, tools, hidden, place=self.place(target), progress=self._progress)

    async def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any], None]:
        """
        Make the call; in the background it goes on through connections that break.

        Raises:
            AdapterError: It was refused, or broke off.
        """
        call = super().stream
        made = lasting(call, request) if is_background(request) else call(request)
        async with aclosing(made) as events:
            async for event in events:
                yield event

    # What the provider makes by itself: see ``adapters.exchange.Resumes``.

    handle_key: ClassVar[str] = BACKGROUND

    async def resume(self, request: Request, handle: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """
        Yield the events of an answer that was asked for before, from the first.

        Raises:
            AdapterError: It is not there, or can't be reached.
        """
        del request  # The answer's name says enough.
        async with aclosing(lasting(super().stream, reopening(handle, None), handle)) as events:
            async for event in events:
                yield event

    async def drop(self, handle: str) -> None:
        """
        Have the provider end an answer that nobody wants any more.

        Raises:
            AdapterError: It was not reached.
        """
        await self._caller.json(cancelling(handle))

    def ingest(self, request: Request) -> ResponsesIngest:
        """Begin to read the answer to a request."""
        return ResponsesIngest(request, self.placed(request))
