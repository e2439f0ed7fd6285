"""The adapter for Ollama's ``/api/chat``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar, Literal

from adapters.exchange import Hidden, Report, Request, Tool
from adapters.http import Timeouts
from adapters.normalize import Progress
from adapters.ollama.ingest import ChatIngest
from adapters.ollama.materialize import ChatWriter, materialize
from adapters.remote import Remote, key_of
from crdt_conv import Message, Target


class Ollama(Remote):
    """
    Answers with a model that Ollama runs.

    Example:
        ``Ollama("qwen3")``
    """

    name: ClassVar[str] = "ollama"
    framing: ClassVar[Literal["sse", "ndjson"]] = "ndjson"

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
        at_once: int = 1,
    ) -> None:
        """
        Choose the server.

        Args:
            model: The model that answers where a run leaves that open.
            base_url: Where requests go; ``OLLAMA_HOST``, else this machine, where it is left out.
            api_key: The key of a server that wants one; ``OLLAMA_API_KEY``, where it is left out.
            timeouts: How long a call waits.
            at_once: How many answers at the same time.

        Raises:
            RequestRefused: The address is no URL.
        """
        self._progress: Progress[ChatWriter] = Progress()
        key = key_of(api_key, "OLLAMA_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = base_url or _host(os.environ.get("OLLAMA_HOST", ""))
        super().__init__(model, url, headers, api_key=key, timeouts=timeouts, at_once=at_once)

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        """Turn a log into a request; see ``materialize.materialize``."""
        return materialize(log, target, tools, hidden, place=self.place(target), progress=self._progress)

    def ingest(self, request: Request) -> ChatIngest:
        """Begin to read the answer to a request."""
        return ChatIngest(request, self.placed(request))


def _host(given: str) -> str:
    """Return the URL that Ollama's own variable means: it may lack scheme and port."""
    if "://" in given:
        return given
    host, _, port = given.partition(":")
    # An address to listen on, 0.0.0.0 say, is none to call.
    is_callable = host.strip("0.") != ""
    return f"http://{host if is_callable else '127.0.0.1'}:{port or 11434}"
