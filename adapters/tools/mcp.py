"""
MCP servers: their tools, over stdio or streamable HTTP, through the official SDK.

The only module that imports ``mcp``, which takes half a second: import it where it is needed.

A connection that breaks is made anew, with longer and longer pauses; calls wait for it as long as they
may take. What was listed last stays offered meanwhile, so that requests keep their beginning.
What a server says of its tools (that one may be repeated, say) is believed unless told otherwise:
whoever adds a server trusts it.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO, TypedDict, Unpack

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from adapters.exchange import Json, Tool
from adapters.tools.output import Media, ToolOutput, output_of
from adapters.tools.port import OUTPUT_LIMIT, TIME_LIMIT_S

CONNECT_LIMIT_S: Final = 30.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 60.0
NAME_CHARACTERS: Final = 64
PAGES: Final = 100
SAID_CHARACTERS: Final = 200
LISTEN_S: Final = 0.2
"""How long what a server that ended has said is waited for."""

logger = logging.getLogger("adapters")


@dataclass(frozen=True, slots=True)
class Over:
    """How a server is reached: by a command that is run, or by a URL."""

    command: Sequence[str] = ()
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, str] | None = None

    def __str__(self) -> str:
        # No arguments and no query: keys stand there.
        return self.url.partition("?")[0] if self.url else Path(self.command[0]).name

    def without_secrets(self, text: str) -> str:
        """Return what an error says, without the query of the URL that it may name."""
        return text.replace(self.url, str(self)) if self.url else text


class Options(TypedDict, total=False):
    """What can be said of a server, however it is reached; see ``McpServer``."""

    name: str
    prefix: str
    needs_approval: bool | Collection[str]
    is_repeatable: bool | None
    time_limit_s: float
    output_limit: int


class ConnectionBroken(Exception):
    """The connection broke in the middle of a call."""


class McpServer:
    """
    The tools of one MCP server, for ``Executor(tools=[…])``.

    Example:
        ::

            clock = McpServer.stdio("mcp-server-time")
            files = McpServer.http("https://files.example/mcp", needs_approval=["delete"])
    """

    def __init__(
        self,
        over: Over,
        *,
        name: str = "",
        prefix: str = "",
        needs_approval: bool | Collection[str] = False,
        is_repeatable: bool | None = None,
        time_limit_s: float = TIME_LIMIT_S,
        output_limit: int = OUTPUT_LIMIT,
    ) -> None:
        """
        Describe a server; it is connected while an executor has it.

        Args:
            over: How it is reached.
            name: What people call it; how it is reached, where it is left out.
            prefix: Put before the names of its tools.
            needs_approval: Whether a person is asked before each call; or before those of which tools.
            is_repeatable: Whether its tools may be called twice; what each says, where it is left out.
            time_limit_s: How long one call may take.
            output_limit: So many characters of a result go to the model.
        """
        self._over = over
        self.name = name or str(over)
        self._prefix = prefix
        self._needs_approval = needs_approval
        self._is_repeatable = is_repeatable
        self._time_limit_s = time_limit_s
        self._output_limit = output_limit
        self._client: Client | None = None
        self._listed = anyio.Event()
        self._connected = anyio.Event()
        self._broken = anyio.Event()
        self._said: deque[str] = deque(maxlen=1)
        self._status = 0
        self.tools: Sequence[McpTool] = ()
        self.problem = ""
        """Why it is not connected, and what to do; nothing where it is, or where nobody has tried yet."""

    @classmethod
    def stdio(
        cls,
        *command: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        **options: Unpack[Options],
    ) -> McpServer:
        """Return a server that is run by a command; of this environment it gets little beside ``env``."""
        return cls(Over(command, env, cwd), **options)

    @classmethod
    def http(
        cls, url: str, *, headers: Mapping[str, str] | None = None, **options: Unpack[Options]
    ) -> McpServer:
        """Return a server that is reached over streamable HTTP."""
        return cls(Over(url=url, headers=headers), **options)

    async def wait_until_listed(self) -> None:
        """Wait until its tools are known, or the first try has failed."""
        await self._listed.wait()

    async def serve(self) -> None:
        """Keep the connection until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                with anyio.fail_after(CONNECT_LIMIT_S) as limit:
                    async with self._connection() as client:
                        self.tools = await self._list(client)
                        # Only connecting is to be quick.
                        limit.deadline = float("inf")
                        pause_s = FIRST_PAUSE_S
                        await self._keep(client)
            except Exception as error:  # noqa: BLE001 - whatever it is: the others go on, and it may come back
                self._failed(error, pause_s)
            self._listed.set()
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _failed(self, error: Exception, pause_s: float) -> None:
        """Say what is wrong: in the log once, and without what the server has said, which may be anything."""
        told = _advice(self._over, error, self._status)
        said = f"; the last that it said: {self._said[-1]}" if self._said else ""
        level = logging.DEBUG if self.problem == told + said else logging.WARNING
        logger.log(level, "MCP server %s: %s; again in %g s", self.name, told, pause_s)
        self.problem = told + said

    async def call(self, name: str, arguments: Mapping[str, Json]) -> ToolOutput:
        """
        Call a tool by the name that the server gave it; waits for the connection.

        Raises:
            ConnectionBroken: Whether it was done is not known.
            MCPError: The server refused.
        """
        while (client := self._client) is None:
            await self._connected.wait()
        try:
            return _output(await client.call_tool(name, dict(arguments)))
        except (MCPError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            if isinstance(error, MCPError) and error.code != types.CONNECTION_CLOSED:
                raise
            self._break(client)
            told = "the connection to the tool's server broke: whether it was done is not known"
            raise ConnectionBroken(told) from error

    # The connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Client]:
        over = self._over
        async with AsyncExitStack() as stack:
            if over.url:
                http = await stack.enter_async_context(
                    httpx2.AsyncClient(
                        headers=dict(over.headers or {}),
                        timeout=self._time_limit_s,
                        event_hooks={"response": [self._on_response]},
                    )
                )
                server: Any = streamable_http_client(over.url, http_client=http)
            else:
                program, *arguments = over.command
                env = dict(over.env) if over.env is not None else None
                started = StdioServerParameters(command=program, args=arguments, env=env, cwd=over.cwd)
                server = stdio_client(started, stack.enter_context(self._listening()))
            yield await stack.enter_async_context(Client(server, cache=None))

    async def _on_response(self, response: httpx2.Response) -> None:
        # The SDK's error does not say it.
        self._status = response.status_code

    @contextmanager
    def _listening(self) -> Iterator[TextIO]:
        """Keep the last line that a child process says: on our own terminal it would be in the way."""
        self._said.clear()
        read, write = os.pipe()
        thread = threading.Thread(target=_listen, args=(read, self._said), daemon=True)
        thread.start()
        try:
            with os.fdopen(write, "w") as file:
                yield file
        finally:
            thread.join(LISTEN_S)

    async def _keep(self, client: Client) -> None:
        """Take calls until the connection breaks."""
        self._client, self._broken = client, anyio.Event()
        self.problem = ""
        self._connected.set()
        self._listed.set()
        try:
            await self._broken.wait()
        finally:
            self._break(client)

    def _break(self, client: Client) -> None:
        """Let nobody use a connection any more; another one is made."""
        if self._client is client:
            self._client, self._connected = None, anyio.Event()
            self._broken.set()

    async def _list(self, client: Client) -> list[McpTool]:
        listed: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor)
            listed += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return [self._tool(tool) for tool in listed]

    def _tool(self, tool: types.Tool) -> McpTool:
        hints = tool.annotations or types.ToolAnnotations()
        says_so = bool(hints.read_only_hint or hints.idempotent_hint)
        asks = self._needs_approval
        name = re.sub("[^a-zA-Z0-9_-]", "_", self._prefix + tool.name)[:NAME_CHARACTERS]
        return McpTool(
            self,
            tool.name,
            Tool(name, tool.description, tool.input_schema),
            is_repeatable=says_so if self._is_repeatable is None else self._is_repeatable,
            needs_approval=asks if isinstance(asks, bool) else tool.name in asks,
            time_limit_s=self._time_limit_s,
            output_limit=self._output_limit,
        )


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of a server."""

    server: McpServer
    name: str
    definition: Tool
    is_repeatable: bool
    needs_approval: bool
    time_limit_s: float
    output_limit: int

    async def call(self, arguments: Mapping[str, Json]) -> ToolOutput:
        """Call it, again where the connection broke and that does no harm; raises as the server's does."""
        try:
            return await self.server.call(self.name, arguments)
        except ConnectionBroken:
            if not self.is_repeatable:
                raise
        return await self.server.call(self.name, arguments)


def _output(result: types.CallToolResult) -> ToolOutput:
    """Return a result of MCP as one of ours."""
    texts: list[str] = []
    media: list[Media] = []
    for block in result.content:
        match block:
            case types.TextContent():
                texts.append(block.text)
            case types.ImageContent() | types.AudioContent():
                media.append(Media(base64.b64decode(block.data), block.mime_type))
            case types.ResourceLink():
                texts.append(f"{block.name}: {block.uri}")
            case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
                texts.append(resource.text)
            case types.EmbeddedResource(resource=types.BlobResourceContents() as resource):
                mime = resource.mime_type or "application/octet-stream"
                media.append(Media(base64.b64decode(resource.blob), mime, str(resource.uri)))
    if not texts and result.structured_content is not None:
        texts.append(output_of(result.structured_content).text)
    return ToolOutput(output_of("\n".join(texts)).text, tuple(media), result.is_error)


def _listen(read: int, said: deque[str]) -> None:
    with os.fdopen(read, errors="replace") as lines:
        for line in lines:
            if line.strip():
                said.append(line.strip()[:SAID_CHARACTERS])


def _advice(over: Over, error: BaseException, status: int) -> str:
    """Return what is wrong, of several that happened together the first, and what to do."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case FileNotFoundError() if over.cwd is not None and not over.cwd.is_dir():
            return f"there is no folder {over.cwd}: mend its 'cwd'"
        case FileNotFoundError() if over.command:
            return f"there is no program {over.command[0]!r}: install it, or mend its 'command'"
        case PermissionError():
            return f"{over} may not be run: is it a program?"
        case MCPError() if over.url and status in {401, 403}:
            return f"{over} answered {status}: it wants a key, or another one, in its 'headers'"
        case MCPError() if over.url and status >= 400:
            return f"{over} answered {status}: is its 'url' that of an MCP server?"
        case httpx2.ConnectError():
            return f"{over} was not reached: is it running, and is its 'url' right?"
        case MCPError(code=types.CONNECTION_CLOSED) if over.command:
            return f"{over} ended, or never spoke MCP: try its command by hand"
        case TimeoutError():
            return f"{over} did not answer in {CONNECT_LIMIT_S:g} s"
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return over.without_secrets(reason)
