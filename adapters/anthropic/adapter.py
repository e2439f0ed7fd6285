"""The adapter for the Messages API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from adapters.anthropic.ingest import MessagesIngest
from adapters.anthropic.materialize import API_VERSION, MessagesWriter, materialize
from adapters.exchange import Hidden, Report, Request, Tool
from adapters.http import Timeouts
from adapters.normalize import Progress
from adapters.remote import Remote, key_of
from adapters.spaces import space_of
from crdt_conv import Message, Target


class Anthropic(Remote):
    """
    Answers with Claude, or with any server that speaks its API.

    Example:
        ``Anthropic("claude-sonnet-5")``
    """

    name: ClassVar[str] = "anthropic"
    is_claude: ClassVar[bool] = True

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.anthropic.com",
        api_key: str | None = None,
        account: str | None = None,
        timeouts: Timeouts | None = None,
        at_once: int = 4,
    ) -> None:
        """
        Choose the server.

        Args:
            model: The model that answers where a run leaves that open.
            base_url: Where requests go; ``/v1/messages`` is put behind it.
            api_key: The key; ``ANTHROPIC_API_KEY``, where it is left out and the server is Anthropic's.
            account: A name for the account, so that its hidden fields outlive a change of key.
            timeouts: How long a call waits.
            at_once: How many answers at the same time.

        Raises:
            RequestRefused: The address is no URL.
        """
        self._progress: Progress[MessagesWriter] = Progress()
        is_own = space_of(base_url, is_claude=True) == "anthropic"
        key = key_of(api_key, *(("ANTHROPIC_API_KEY",) if is_own else ()))
        headers = {"anthropic-version": API_VERSION} | ({"x-api-key": key} if key else {})
        super().__init__(
            model, base_url, headers, api_key=key, account=account, timeouts=timeouts, at_once=at_once
        )

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        """Turn a log into a request; see ``materialize.materialize``."""
        return materialize(log, target, tools, hidden, place=self.place(target), progress=self._progress)

    def ingest(self, request: Request) -> MessagesIngest:
        """Begin to read the answer to a request."""
        return MessagesIngest(request, self.placed(request))
