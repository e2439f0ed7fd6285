"""An MCP server of the official SDK in a process of its own, over stdio or over HTTP on loopback."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import anyio
import uvicorn
from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

server = MCPServer("test", log_level="CRITICAL")
READ_ONLY = ToolAnnotations(read_only_hint=True)


@server.tool(annotations=READ_ONLY)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(name="files.delete")
def delete(path: str) -> str:
    """Delete a file."""
    return f"{path} is gone"


@server.tool(structured_output=False)
def shoot() -> list[object]:
    """Take a picture."""
    return ["Look:", Image(data=b"\x89PNG", format="png")]


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("no such thing")


@server.tool()
async def hang() -> str:
    """Take for ever."""
    await anyio.sleep_forever()
    return ""


def _end(file: str) -> str:
    """Note that this was called, and end the process the first time."""
    with Path(file).open("a") as lines:
        lines.write("x")
    if Path(file).read_text() == "x":
        os._exit(1)
    return "still here"


@server.tool()
def end_once(file: str) -> str:
    """End this process the first time."""
    return _end(file)


@server.tool(annotations=READ_ONLY)
def end_harmlessly(file: str) -> str:
    """End this process the first time; may be repeated."""
    return _end(file)


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        config = uvicorn.Config(server.streamable_http_app(), log_level="critical")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(listener.getsockname()[1], flush=True)  # noqa: T201 - whoever started this reads it
            uvicorn.Server(config).run(sockets=[listener])
    else:
        server.run("stdio")
