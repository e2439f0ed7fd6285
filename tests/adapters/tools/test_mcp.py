"""MCP servers in processes of their own: over stdio and HTTP, of the official SDK, and one as published."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapters import OpenAIChat
from adapters.tools import Media, Toolbox, ToolOutput, perform
from adapters.tools import mcp as mcp_tools
from adapters.tools.mcp import McpServer
from tests.adapters.dialogues import dialogue
from tests.providers.chat import ChatServer
from tests.providers.serving import Answer, Refusal, serving

pytestmark = pytest.mark.anyio

SERVER = str(Path(__file__).parent / "serving_mcp.py")


def local(**options: Any) -> McpServer:
    """Return the test's server over stdio."""
    return McpServer.stdio(sys.executable, SERVER, **options)


@asynccontextmanager
async def connected(server: McpServer) -> AsyncIterator[Toolbox]:
    """Keep a server connected."""
    toolbox = Toolbox([server])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(toolbox.serve)
        with anyio.fail_after(30):
            await toolbox.wait_until_listed()
        yield toolbox
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def over_http(**options: Any) -> AsyncIterator[McpServer]:
    """Run the test's server on a port of loopback."""
    async with await anyio.open_process([sys.executable, SERVER, "http"], stderr=None) as process:
        try:
            assert process.stdout is not None
            with anyio.fail_after(30):
                port = int(await process.stdout.receive())
            yield McpServer.http(f"http://127.0.0.1:{port}/mcp", **options)
        finally:
            process.kill()


async def call(toolbox: Toolbox, name: str, **arguments: Any) -> ToolOutput:
    """Call a tool as an executor does."""
    tool = toolbox.find(name)
    assert tool is not None
    with anyio.fail_after(30):
        return await perform(tool, json.dumps(arguments))


@pytest.mark.parametrize("is_http", [False, True])
async def test_tools_are_listed_and_called(*, is_http: bool) -> None:
    """Over stdio and over HTTP: names that every provider takes, hints, results, files and errors."""
    if is_http:
        async with over_http(needs_approval=["files.delete"]) as server, connected(server) as toolbox:
            await check(toolbox)
    else:
        async with connected(local(needs_approval=["files.delete"])) as toolbox:
            await check(toolbox)


async def check(toolbox: Toolbox) -> None:
    """Check what the test's server has, and does."""
    add, delete = toolbox.find("add"), toolbox.find("files_delete")
    assert add is not None
    assert delete is not None
    assert (add.definition.description, add.is_repeatable, add.needs_approval) == (
        "Add two numbers.",
        True,
        False,
    )
    assert (add.definition.parameters or {})["required"] == ["a", "b"]
    assert (delete.is_repeatable, delete.needs_approval) == (False, True)
    assert await call(toolbox, "add", a=1, b=2) == ToolOutput("3")
    assert await call(toolbox, "files_delete", path="a") == ToolOutput("a is gone")
    assert await call(toolbox, "shoot") == ToolOutput("Look:", (Media(b"\x89PNG", "image/png"),))
    failed = await call(toolbox, "fail")
    assert (failed.is_error, "no such thing" in failed.text) == (True, True)


async def test_a_call_has_a_time_limit() -> None:
    """A tool that hangs is given up, and the next call goes through the same connection."""
    async with connected(local(time_limit_s=2.0)) as toolbox:
        late = await call(toolbox, "hang")
        assert (late.is_error, "longer than the 2 s" in late.text) == (True, True)
        assert await call(toolbox, "add", a=1, b=2) == ToolOutput("3")


@pytest.mark.parametrize(
    ("name", "expected", "calls"),
    [("end_once", "whether it was done is not known", "x"), ("end_harmlessly", "still here", "xx")],
)
async def test_a_server_that_dies_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str, calls: str
) -> None:
    """In the middle of a call: it is made again only if that does no harm; the next one is answered."""
    monkeypatch.setattr(mcp_tools, "FIRST_PAUSE_S", 0.01)
    file = tmp_path / "calls"
    async with connected(local()) as toolbox:
        assert expected in (await call(toolbox, name, file=str(file))).text
        assert file.read_text() == calls
        assert await call(toolbox, "add", a=1, b=2) == ToolOutput("3")


@pytest.mark.parametrize(
    "server",
    [
        McpServer.stdio("no-such-program-anywhere"),
        McpServer.stdio(sys.executable, "-c", "print('no MCP, secret')"),
        McpServer.http("http://127.0.0.1:9/mcp?key=secret"),
    ],
)
async def test_a_server_that_is_not_there_holds_nobody_up(
    server: McpServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Runs are answered without its tools, and the log says what is wrong, with no argument and no key."""
    async with connected(server) as toolbox:
        assert toolbox.definitions == ()
    [told] = [record.getMessage() for record in caplog.records if record.name == "adapters"]
    assert (told.startswith("MCP server"), "secret" in told) == (True, False)


async def test_a_model_asks_a_server_as_published() -> None:
    """mcp-server-time as it is published answers a call of a run."""
    asks = Answer("", calls=[("convert_time", json.dumps(CONVERT))])
    server = ChatServer(asks, Answer("Half past six."))
    async with serving(server) as url:
        adapter = OpenAIChat("m", base_url=f"{url}/v1", api_key="k")
        clock = McpServer.stdio(sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC")
        async with dialogue([adapter], [clock]) as talk:
            run = await talk.ask("openai-chat", "When is noon in Tokyo, in Kolkata?")
            result = talk.conversation.log().messages[2].parts[0].content
    assert run.state == "complete"
    told = json.loads(result["content"])
    assert (told["target"]["datetime"][11:16], result["is_error"]) == ("08:30", False)
    offered = [tool["function"]["name"] for tool in server.requests[0]["tools"]]
    assert offered == ["get_current_time", "convert_time"]


CONVERT = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Asia/Kolkata"}


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (McpServer.stdio("no-such-program", name="clock"), "no program 'no-such-program': install it"),
        (McpServer.stdio("sh", "-c", "echo Give me KEY >&2", name="clock"), "it said: Give me KEY"),
        (McpServer.stdio("sh", cwd=Path("/no/such/folder")), "mend its 'cwd'"),
        (McpServer.http("http://127.0.0.1:9/mcp?key=secret"), "is it running, and is its 'url' right?"),
    ],
)
async def test_what_is_wrong_with_a_server_says_what_to_do(server: McpServer, told: str) -> None:
    """``problem`` names the cause, and for a child process the last line that it said."""
    async with connected(server):
        assert told in server.problem
        assert "secret" not in server.problem


@pytest.mark.parametrize(("status", "told"), [(401, "it wants a key"), (404, "is its 'url' that of an MCP")])
async def test_a_refusal_over_http_is_told_by_its_status(status: int, told: str) -> None:
    """A wrong key and a wrong address are not one error."""
    async with serving(Refusing(status)) as url:
        server = McpServer.http(f"{url}/v1/chat/completions")
        async with connected(server):
            assert told in server.problem


async def test_a_server_that_stays_away_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log warns when the reason changes, not at every try."""
    caplog.set_level("DEBUG", "adapters")
    monkeypatch.setattr(mcp_tools, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(mcp_tools, "LONGEST_PAUSE_S", 0.001)
    async with connected(McpServer.stdio("no-such-program")):
        with anyio.fail_after(30):
            while len(caplog.records) < 4:  # noqa: ASYNC110 - the log has no event
                await anyio.sleep(0.001)
    levels = [record.levelname for record in caplog.records if record.name == "adapters"]
    assert (levels[0], set(levels[1:])) == ("WARNING", {"DEBUG"})


class Refusing(ChatServer):
    """A server that refuses everything."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self._refusal = Refusal(status, {})

    def check(self, body: Any, headers: Any) -> Refusal:
        return self._refusal
