"""The llama.cpp adapter: a child process on the ``xllamacpp`` wheel, or any llama-server by URL."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from adapters.errors import ModelUnavailable, RequestRefused
from adapters.exchange import Hidden, Report, Request, Tool
from adapters.llamacpp.answering import answer
from adapters.llamacpp.checkpoints import (
    DEFAULT_BUDGET,
    Checkpoints,
    Identity,
    default_folder,
    hash_model,
    known_hash,
)
from adapters.llamacpp.client import LlamaClient
from adapters.llamacpp.gguf import is_branchable
from adapters.llamacpp.ingest import CompletionIngest
from adapters.llamacpp.live import Live, look_at
from adapters.llamacpp.materialize import ERROR, POLICIES, materialize
from adapters.llamacpp.model import find_model
from adapters.llamacpp.server import LlamaServer
from adapters.llamacpp.slots import Keeping, Slots
from crdt_conv import Message, Target

SAVE_S = 10.0
"""How long the end of a program waits for checkpoints to be written."""

logger = logging.getLogger("adapters")


class LlamaCpp:
    """
    Answers with a local model.

    The child process starts with the first answer, and lives while ``serve`` runs.
    """

    name = "llamacpp"
    is_continuing = True

    def __init__(
        self,
        model: Path | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        context_tokens: int = 8192,
        threads: int | None = None,
        at_once: int = 1,
        overflow: str = ERROR,
        max_tokens: int | None = None,
        checkpoints: Path | None = None,
        checkpoint_bytes: int = DEFAULT_BUDGET,
        chat_template: str | None = None,
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
            overflow: What to do with a conversation that is longer than the model reads: ``error`` or
                ``drop_oldest``. A target's own parameter of that name goes first.
            max_tokens: How long an answer may be where a target does not say; as long as fits, where it is
                left out: a small model may never stop by itself, and holds its place meanwhile.
            checkpoints: The folder for what the model has computed; in the user's cache, where it is
                left out. It may be deleted at any time, and shared by several processes.
            checkpoint_bytes: What those may take on disk; 0 keeps none.
            chat_template: A Jinja template for the child, instead of the one in the model's file.

        Raises:
            ModelUnavailable: There is no such model.
            RequestRefused: There is no such policy, or no such length.
        """
        if max_tokens is not None and max_tokens < 1:
            raise RequestRefused("max_tokens is a number from 1 on")
        if overflow not in POLICIES:
            raise RequestRefused(f"no overflow policy {overflow!r}: it is one of {', '.join(POLICIES)}")
        self.at_once = at_once
        self._overflow = overflow
        self._max_tokens = max_tokens
        self._path = None if url is not None else find_model(model)
        self.model = self._path.stem if self._path is not None else "llama-server"
        self._url = url
        self._api_key = api_key
        self._folder = checkpoints or default_folder()
        self._checkpoints = (
            Checkpoints(self._folder, budget=checkpoint_bytes)
            if self._path and checkpoint_bytes > 0
            else None
        )
        self._server = (
            LlamaServer(
                self._path,
                context_tokens=context_tokens,
                threads=threads or _all_but_one(),
                slots=at_once,
                slot_save_path=self._folder if self._checkpoints is not None else None,
                chat_template=chat_template,
            )
            if self._path
            else None
        )
        known = known_hash(self._path, self._folder) if self._path is not None else None
        self._space = _space_of(known) if known is not None else None
        self._slots = Slots(at_once)
        self._known: tuple[int, Live] | None = None
        self._is_wanted = anyio.Event()
        self._is_answered = anyio.Event()
        self._failure: ModelUnavailable | None = None

    @property
    def server_pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._server.pid if self._server is not None else None

    async def serve(self) -> None:
        """Keep the child process, from the first answer on, until cancelled."""
        while self._server is not None:
            await self._is_wanted.wait()
            try:
                await self._prepare()
                async with self._server:
                    await self._keep_identity()
                    self._answer(None)
                    await self._save_when_idle()
            except ModelUnavailable as error:
                self._answer(error)

    def _answer(self, failure: ModelUnavailable | None) -> None:
        """Let those who wait for the model go on; after a failure the next one asks anew."""
        self._failure = failure
        self._is_answered.set()
        if failure is not None:
            self._is_wanted, self._is_answered = anyio.Event(), anyio.Event()

    def forget(self, messages: Collection[str]) -> None:
        """Keep nothing that was computed from any of these messages."""
        self._slots.forget_messages(messages)
        if self._checkpoints is not None:
            # Also before the model has been started.
            self._checkpoints.forget(messages)

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        """Turn a log into a request; see ``materialize.materialize``."""
        return materialize(
            log,
            target,
            tools,
            hidden,
            overflow=self._overflow,
            max_tokens=self._max_tokens,
            space=self._space,
        )

    def ingest(self, request: Request) -> CompletionIngest:  # noqa: ARG002 - all it needs comes in events
        """Begin to read an answer."""
        return CompletionIngest()

    async def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any], None]:
        """
        Make the call.

        Raises:
            AdapterError: The model does not load, the request was refused, or the answer broke off.
        """
        async with AsyncExitStack() as stack:

            async def revive() -> Live:
                assert self._server is not None
                await self._server.wait_for_news()
                return await stack.enter_async_context(self._live())

            live = await stack.enter_async_context(self._live())
            # A server of somebody else's is not ours to wait for.
            again = revive if self._server is not None else None
            events = await stack.enter_async_context(aclosing(answer(live, request.body or {}, again)))
            async for event in events:
                yield event

    # The server

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[Live]:
        """Connect to the server, once it is there."""
        if self._server is None:
            async with _connected(self._url or "", self._api_key) as client:
                live = await look_at(client, space=None, model=self.model, slots=None)
                self._space = live.space
                yield live
            return
        self._is_wanted.set()
        await self._is_answered.wait()
        if self._failure is not None:
            raise self._failure
        async with _connected(await self._server.url(), self._server.api_key) as client:
            if self._known is None or self._known[0] != self._server.starts:
                self._slots.forget()
                self._known = (
                    self._server.starts,
                    await look_at(client, space=self._space, model=self.model, slots=self._slots),
                )
            yield self._known[1].with_client(client)

    async def _prepare(self) -> None:
        if self._checkpoints is not None:
            try:
                await anyio.to_thread.run_sync(self._checkpoints.prepare)
            except OSError as error:
                logger.warning("no checkpoints are kept in %s: %s", self._folder, error.strerror)
                self._checkpoints = None

    async def _keep_identity(self) -> None:
        """Find out what the server's states and tokens are worth to others."""
        assert self._server is not None
        assert self._path is not None
        try:
            digest = await anyio.to_thread.run_sync(hash_model, self._path, self._folder)
            branches = await anyio.to_thread.run_sync(is_branchable, self._path)
        except OSError as error:
            raise ModelUnavailable(f"can't read the model {self._path}: {error.strerror}") from error
        self._space = _space_of(digest)
        if self._checkpoints is None:
            return
        about, context = self._server.about, self._server.context_tokens
        identity = Identity(
            digest,
            str(about.get("build", "")),
            context,
            str(about.get("cache_k", "")),
            str(about.get("cache_v", "")),
            str(about.get("flash_attention", "")),
        )
        self._slots.keep_in(Keeping(self._checkpoints, identity, is_branchable=branches))

    async def _save_when_idle(self) -> None:
        """Save what slots hold, whenever nothing else is asked, and at the end."""
        try:
            while True:
                await self._slots.wait_until_idle()
                await self._save()
        finally:
            with anyio.move_on_after(SAVE_S, shield=True):
                await self._slots.wait_until_free()
                await self._save()

    async def _save(self) -> None:
        assert self._server is not None
        if self._server.state != "ready" or self._known is None or self._known[0] != self._server.starts:
            # It has died, or is another by now: nothing of what we took it to hold is there.
            self._slots.forget()
            return
        async with _connected(await self._server.url(), self._server.api_key) as client:
            await self._slots.save(client)


@asynccontextmanager
async def _connected(url: str, api_key: str | None) -> AsyncIterator[LlamaClient]:
    client = LlamaClient(url, api_key)
    try:
        yield client
    finally:
        with anyio.CancelScope(shield=True):
            await client.aclose()


def _space_of(digest: str) -> str:
    """Return the key space of a model's tokens."""
    return f"gguf:{digest}"


def _all_but_one() -> int:
    return max(1, (os.cpu_count() or 2) - 1)
