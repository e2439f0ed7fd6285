"""The llama.cpp adapter: a child process on the ``xllamacpp`` wheel, or any llama-server by URL."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio

from adapters.errors import ModelUnavailable
from adapters.exchange import Hidden, Report, Request, Tool
from adapters.llamacpp.client import LlamaClient
from adapters.llamacpp.ingest import ChatIngest
from adapters.llamacpp.materialize import materialize
from adapters.llamacpp.model import find_model
from adapters.llamacpp.server import LlamaServer
from crdt_conv import Message, Target


class LlamaCpp:
    """
    Answers with a local model.

    The child process starts with the first answer, and lives while ``serve`` runs.
    """

    name = "llamacpp"

    def __init__(
        self,
        model: Path | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        context_tokens: int = 8192,
        threads: int | None = None,
        at_once: int = 1,
    ) -> None:
        """
        Choose the model.

        Args:
            model: A GGUF file; see ``find_model`` for what is taken where it is left out.
            url: A llama-server that runs already, instead of a child process.
            api_key: Its key.
            context_tokens: How much one answer reads and writes at most.
            threads: Processor threads of the child; all but one, where it is left out: a model
                that takes them all is slowed by whatever else runs, many times over.
            at_once: How many answers at the same time.

        Raises:
            ModelUnavailable: There is no such model.
        """
        self.at_once = at_once
        path = None if url is not None else find_model(model)
        self.model = path.stem if path is not None else "llama-server"
        self._url = url
        self._api_key = api_key
        self._server = (
            LlamaServer(path, context_tokens=context_tokens, threads=threads or _all_but_one(), slots=at_once)
            if path
            else None
        )
        self._is_wanted = anyio.Event()
        self._is_answered = anyio.Event()
        self._failure: ModelUnavailable | None = None

    async def serve(self) -> None:
        """Keep the child process, from the first answer on, until cancelled."""
        while self._server is not None:
            await self._is_wanted.wait()
            try:
                async with self._server:
                    self._answer(None)
                    await anyio.sleep_forever()
            except ModelUnavailable as error:
                self._answer(error)

    def _answer(self, failure: ModelUnavailable | None) -> None:
        """Let those who wait for the model go on; after a failure the next one asks anew."""
        self._failure = failure
        self._is_answered.set()
        if failure is not None:
            self._is_wanted, self._is_answered = anyio.Event(), anyio.Event()

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        """Turn a log into a request; see ``materialize.materialize``."""
        return materialize(log, target, tools, hidden)

    def ingest(self, request: Request) -> ChatIngest:  # noqa: ARG002 - nothing is bound to it
        """Begin to read an answer."""
        return ChatIngest()

    async def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any], None]:
        """
        Make the call.

        Raises:
            AdapterError: The model does not load, the request was refused, or the answer broke off.
        """
        client = LlamaClient(*await self._address())
        try:
            async with aclosing(client.stream(request.path, request.body or {})) as events:
                async for event in events:
                    yield event
        finally:
            with anyio.CancelScope(shield=True):
                await client.aclose()

    async def _address(self) -> tuple[str, str | None]:
        if self._server is None:
            return self._url or "", self._api_key
        self._is_wanted.set()
        await self._is_answered.wait()
        if self._failure is not None:
            raise self._failure
        return await self._server.url(), self._server.api_key


def _all_but_one() -> int:
    return max(1, (os.cpu_count() or 2) - 1)
