"""The adapter for Gemini's ``generateContent``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from adapters.exchange import Hidden, Report, Request, Tool
from adapters.gemini.ingest import GenerateIngest
from adapters.gemini.materialize import GenerateWriter, materialize, model_of
from adapters.http import Timeouts
from adapters.normalize import Progress
from adapters.remote import Remote, key_of
from adapters.spaces import space_of
from crdt_conv import Message, Target


class Gemini(Remote):
    """
    Answers with Gemini.

    Example:
        ``Gemini("gemini-3-pro")``; on Vertex with the project in the URL, up to ``/publishers/google``,
        and an access token as the key.
    """

    name: ClassVar[str] = "gemini"

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://generativelanguage.googleapis.com/v1beta",
        api_key: str | None = None,
        account: str | None = None,
        timeouts: Timeouts | None = None,
        at_once: int = 4,
    ) -> None:
        """
        Choose the server.

        Args:
            model: The model that answers where a run leaves that open.
            base_url: Where requests go; ``/models/MODEL:streamGenerateContent`` is put behind it.
            api_key: The key; ``GEMINI_API_KEY`` or ``GOOGLE_API_KEY``, where it is left out and
                the server is Google's.
            account: A name for the account, so that its hidden fields outlive a change of key.
            timeouts: How long a call waits.
            at_once: How many answers at the same time.

        Raises:
            RequestRefused: The address is no URL.
        """
        self._progress: Progress[GenerateWriter] = Progress()
        space = space_of(base_url)
        key = key_of(api_key, *(("GEMINI_API_KEY", "GOOGLE_API_KEY") if space == "gemini-api" else ()))
        name = "Authorization" if space == "vertex" else "x-goog-api-key"
        headers = {name: f"Bearer {key}" if space == "vertex" else key} if key else {}
        super().__init__(
            model, base_url, headers, api_key=key, account=account, timeouts=timeouts, at_once=at_once
        )

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        """Turn a log into a request; see ``materialize.materialize``."""
        return materialize(log, target, tools, hidden, place=self.place(target), progress=self._progress)

    def ingest(self, request: Request) -> GenerateIngest:
        """Begin to read the answer to a request."""
        return GenerateIngest(request, self.place(Target(self.name, model_of(request))))
