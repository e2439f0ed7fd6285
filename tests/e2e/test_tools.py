"""Tools at the command line: listed, called, approved, on the store by itself and through a daemon."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.programs import daemon
from tests.e2e.providing import ADDS, DELETES, asking, configured, conv, conv_json, provider
from tests.e2e.terminals import CTRL_C, terminal
from tests.providers.serving import Answer

DONE = Answer("All done.")


def asked(db: Path, *, text: str = "Do it.") -> str:
    """Make a conversation with a question; returns its id."""
    trip: str = conv_json(db, "new")["id"]
    conv_json(db, "append", trip, text)
    return trip


def results(db: Path, conversation: str) -> list[Any]:
    """Return the results of tools in a log."""
    messages = conv_json(db, "show", conversation)["messages"]
    parts = [part for message in messages for part in message["parts"] if part["type"] == "tool_result"]
    return [(part["content"], part["is_error"]) for part in parts]


def test_tools_are_listed(tmp_path: Path) -> None:
    """Name, server, approval and whether it may be repeated; a server that is not there says what to do."""
    db, environ = tmp_path / "chats.db", configured(tmp_path, '[mcp.gone]\ncommand = "no-such-program"\n')
    listed = conv_json(db, "tools", "--tools", "test", environ=environ)
    tools = {tool["name"]: tool for tool in listed["tools"]}
    assert (tools["add"]["server"], tools["add"]["is_repeatable"], tools["add"]["needs_approval"]) == (
        "test",
        True,
        False,
    )
    assert (tools["files_delete"]["is_repeatable"], tools["files_delete"]["needs_approval"]) == (False, True)
    assert "files_delete" in conv(db, "tools", "--tools", "test", environ=environ)
    error = conv(db, "tools", code=1, environ=environ)
    assert error == (
        "MCP server gone: there is no program 'no-such-program': install it, or mend its 'command'\n"
    )


def test_what_can_t_be_is_one_line(tmp_path: Path) -> None:
    """A slip in the configuration, an unknown name, and flags that exclude each other."""
    db, environ = tmp_path / "chats.db", configured(tmp_path, '[mcp.x]\nurl = "nowhere"\n')
    error = conv(db, "tools", code=1, environ=environ)
    assert error == "error: [mcp.x] of the configuration has a 'url' that is not like \"https://…\"\n"
    assert "no table [mcp.y]" in conv(db, "tools", "--tools", "y", code=2, environ=environ)
    trip = asked(db)
    excluded = ("run", trip, "--tools", "test", "--no-tools")
    assert "exclude each other" in conv(db, *excluded, code=2, environ=environ)


def test_tools_are_called_and_shown_as_they_are(tmp_path: Path) -> None:
    """The answer alone is on standard output; ``explain`` tells the tools before, and the model was told."""
    db, environ = tmp_path / "chats.db", configured(tmp_path)
    with provider(ADDS, DONE) as (server, url):
        trip = asked(db)
        told = conv_json(db, "explain", trip, *asking(url), environ=environ)
        assert "files_delete" in told["tools"]
        assert conv_json(db, "explain", trip, *asking(url), "--no-tools", environ=environ)["tools"] == []
        assert conv(db, "run", trip, *asking(url), environ=environ) == "All done.\n"
        offered = [tool["function"]["name"] for tool in server.requests[0]["tools"]]
    assert offered == told["tools"]
    assert results(db, trip) == [("3", False)]
    assert "▸ add" in conv(db, "show", trip)
    assert "✓ 3" in conv(db, "show", trip)


def test_a_question_through_a_pipe(tmp_path: Path) -> None:
    """``echo question | conv run ID -`` says it and answers it; ``--json`` prints the answer."""
    db = tmp_path / "chats.db"
    with provider(Answer("Lisbon."), Answer("Porto.")) as (_, url):
        trip = conv_json(db, "new")["id"]
        assert conv(db, "run", trip, "-", *asking(url), stdin="Where?\n") == "Lisbon.\n"
        assert conv_json(db, "run", trip, "And then?", *asking(url))["text"] == "Porto."
    texts = [message["text"] for message in conv_json(db, "show", trip)["messages"]]
    assert texts == ["Where?", "Lisbon.", "And then?", "Porto."]


def test_a_call_waits_where_nobody_is_asked(tmp_path: Path) -> None:
    """The run ends with 1 and stays; ``approve`` lists and answers, ``--resume`` goes on with it."""
    db, environ = tmp_path / "chats.db", configured(tmp_path)
    with provider(DELETES, DONE) as (server, url):
        trip = asked(db)
        error = conv(db, "run", trip, *asking(url), code=1, environ=environ)
        assert f"conv approve {trip}" in error
        [waiting] = conv_json(db, "approve", trip)
        assert (waiting["name"], json.loads(waiting["arguments"]), waiting["approved"]) == (
            "files_delete",
            {"path": "a"},
            None,
        )
        assert "nothing of that name" in conv(db, "approve", trip, "nobody", "--yes", code=1)
        [said] = conv_json(db, "approve", trip, waiting["run"], waiting["call"], "--yes")
        assert said == {**waiting, "approved": True}
        assert conv_json(db, "approve", trip) == []
        assert "All done." in conv(db, "run", trip, "--resume", *asking(url), environ=environ)
        assert len(server.requests) == 2
    assert results(db, trip) == [("a is gone", False)]
    assert "no run of main waits" in conv(db, "run", trip, "--resume", *asking(url), code=1)


def test_calls_are_approved_beforehand(tmp_path: Path) -> None:
    """``--yes`` asks nobody."""
    db, environ = tmp_path / "chats.db", configured(tmp_path)
    with provider(DELETES, DONE) as (_, url):
        trip = asked(db)
        assert conv_json(db, "run", trip, *asking(url), "--yes", environ=environ)["text"] == "All done."
    assert results(db, trip) == [("a is gone", False)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [("y", [("a is gone", False)] * 2), ("n", None), ("always", [("a is gone", False)] * 2)],
)
def test_a_person_is_asked_in_place(tmp_path: Path, said: str, expected: list[Any] | None) -> None:
    """With name and arguments: yes, no, or always for this run."""
    db, environ = tmp_path / "chats.db", configured(tmp_path)
    with provider(DELETES, DELETES, DONE) as (_, url):
        trip = asked(db)
        with terminal(db, "run", trip, *asking(url), environ=environ) as screen:
            screen.expect('files_delete {"path":"a"}')
            for _ in range(1 if said == "always" else 2):
                screen.expect("may it be called? [y/n/always]")
                screen.enter(said)
                screen.expect("files_delete")
            screen.expect("All done.")
            assert screen.ended() == 0
    shown = results(db, trip)
    if expected is not None:
        assert shown == expected
    else:
        assert [is_error for _, is_error in shown] == [True, True]


def test_ctrl_c_where_a_person_is_asked_cancels_the_run(tmp_path: Path) -> None:
    """Nothing is called, the run is cancelled, and the store is whole."""
    db, environ = tmp_path / "chats.db", configured(tmp_path)
    with provider(DELETES) as (_, url):
        trip = asked(db)
        with terminal(db, "run", trip, *asking(url), environ=environ) as screen:
            screen.expect("may it be called?")
            screen.type(CTRL_C)
            assert screen.ended() == 130
    assert conv_json(db, "approve", trip) == []
    assert results(db, trip) == []
    assert conv_json(db, "verify", trip)["problems"] == []


def test_tools_of_a_daemon(tmp_path: Path) -> None:
    """Its executor has them; any device lists and approves, and is asked in place; flags are refused."""
    db = tmp_path / "chats.db"
    with provider(ADDS, DELETES, DONE, DELETES, Answer("Gone.")) as (_, url):
        environ = {**configured(tmp_path), "OLLAMA_HOST": url}
        with daemon(db, environ=environ):
            wait_for_tools(db)
            trip, model = asked(db), ("--adapter", "ollama", "--model", "m")
            assert "add" in conv_json(db, "explain", trip, *model)["tools"]
            assert "syncd serve --tools" in conv(db, "run", trip, *model, "--no-tools", code=1)
            with terminal(db, "run", trip, *model) as screen:
                screen.expect("✓ add 3")
                screen.expect("may it be called?")
                [waiting] = conv_json(db, "approve", trip)
                conv_json(db, "approve", trip, waiting["run"], "files_delete", "--yes")
                screen.expect("All done.")
                assert screen.ended() == 0
            conv_json(db, "append", trip, "Again.")
            with terminal(db, "run", trip, *model) as screen:
                screen.expect("may it be called?")
                screen.enter("y")
                screen.expect("Gone.")
    assert results(db, trip) == [("3", False), ("a is gone", False), ("a is gone", False)]


def wait_for_tools(db: Path) -> None:
    """Wait until a daemon's MCP server has listed its tools."""
    deadline = time.monotonic() + 30
    while not conv_json(db, "tools")["tools"]:
        assert time.monotonic() < deadline
