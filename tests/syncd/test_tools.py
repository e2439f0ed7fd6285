"""MCP servers as they stand in the configuration."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import ConfigError
from syncd.tools import ServerSettings, Toolset, read_servers

WHOLE = """
[clock]
command = "mcp-server-time"
args = ["--local-timezone", "UTC"]
env = { TOKEN = "$CLOCK_TOKEN", PRICE = "5 $$" }
cwd = "/srv"
time_limit_s = 5
is_repeatable = true

[files]
url = "https://files.example/mcp"
headers = { Authorization = "Bearer ${FILES_TOKEN}" }
prefix = "files-"
needs_approval = ["delete"]
output_limit = 1000

[old]
command = "old"
env = { KEY = "$NOBODY_HAS_IT" }
enabled = false
"""
ENVIRON = {"CLOCK_TOKEN": "tick", "FILES_TOKEN": "tock"}


def read(text: str, *names: str) -> tuple[ServerSettings, ...]:
    """Read the servers of a configuration."""
    return read_servers(tomllib.loads(text), names or None, ENVIRON)


def test_servers_are_read_in_their_order() -> None:
    """Variables are filled in and kept as secrets; what is not enabled is left out, unless it is named."""
    assert read(WHOLE) == (
        ServerSettings(
            "clock",
            ("mcp-server-time", "--local-timezone", "UTC"),
            {"TOKEN": "tick", "PRICE": "5 $"},
            Path("/srv"),
            options={"is_repeatable": True, "time_limit_s": 5},
            secrets=("tick",),
        ),
        ServerSettings(
            "files",
            url="https://files.example/mcp",
            headers={"Authorization": "Bearer tock"},
            options={"prefix": "files-", "needs_approval": ["delete"], "output_limit": 1000},
            secrets=("tock",),
        ),
    )
    assert [server.name for server in read(WHOLE, "files")] == ["files"]
    with pytest.raises(ConfigError, match=r"\[mcp.old\].* wants the variable NOBODY_HAS_IT for 'env.KEY'"):
        read(WHOLE, "old")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clock = 1", "is no table"),
        ("[clock]", "by a 'command', or by a 'url'"),
        ("[clock]\ncommand = 'a'\nurl = 'https://b'", "by a 'command', or by a 'url'"),
        ("[clock]\ncommand = 'a'\nheaders = {}", "for a server with a 'url'"),
        ("[clock]\nurl = 'https://b'\nargs = []", "for a server with a 'command'"),
        ("[clock]\nurl = 'b'", "'url' that is not like"),
        ("[clock]\ncommand = ['a']", "'command' that is not like"),
        ("[clock]\ncommand = 'a'\nargs = [1]", "'args' that is not like"),
        ("[clock]\ncommand = 'a'\nenv = { A = 1 }", "'env' that is not like"),
        ("[clock]\ncommand = 'a'\nenv = { A = '$' }", "names no variable"),
        ("[clock]\ncommand = 'a'\ntime_limit_s = 0", "'time_limit_s' that is not like 60"),
        ("[clock]\ncommand = 'a'\noutput_limit = 1.5", "'output_limit' that is not like"),
        ("[clock]\ncommand = 'a'\nneeds_approval = 'all'", "'needs_approval' that is not like true or"),
        ("[clock]\ncommand = 'a'\nenabled = 'no'", "'enabled' that is not like"),
        ("[clock]\ncommand = 'a'\ntimeout = 1", "has no 'timeout': it is one of command, args,"),
    ],
)
def test_what_can_t_be_says_where_and_what_to_do(text: str, told: str) -> None:
    """A slip of the pen is told before anything is started."""
    with pytest.raises(ConfigError) as error:
        read(text)
    assert str(error.value).startswith("[mcp.clock] of the configuration")
    assert told in str(error.value)


def test_an_unknown_server_is_told_with_those_there_are() -> None:
    """Who mistypes a name sees the others."""
    with pytest.raises(ConfigError, match="it has clock, files, old"):
        read(WHOLE, "clok")


def test_options_reach_the_server() -> None:
    """What is said in the file is what ``McpServer`` is told, under the name that people gave it."""
    toolset = Toolset(read(WHOLE))
    assert [server.name for server in toolset.servers] == ["clock", "files"]
    made: Any = toolset.servers[1]
    assert (made._prefix, made._needs_approval, made._output_limit) == ("files-", ["delete"], 1000)
    assert toolset.as_json()["servers"][0] == {"name": "clock", "tools": 0, "problem": ""}
