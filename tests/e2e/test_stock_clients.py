"""Stock Yjs clients, unmodified, in Node, against the real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crdt_conv import new_id
from tests.e2e.programs import Daemon, YWebsocketClient, conv_json, daemon, node_is_missing

pytestmark = pytest.mark.skipif(bool(node_is_missing()), reason=node_is_missing())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Daemon]:
    """Run a daemon."""
    with daemon(tmp_path / "chats.db", "--no-executor") as running:
        yield running


@pytest.fixture
def browsers(server: Daemon) -> Iterator[list[YWebsocketClient]]:
    """Run two y-websocket clients in one room."""
    room = new_id()
    clients = [YWebsocketClient(server.ws, room) for _ in range(2)]
    yield clients
    for client in clients:
        client.close()


def say(client: YWebsocketClient, text: str, *parents: str) -> str:
    """Let a browser write a message; returns its id."""
    message_id = new_id()
    client.do("append", id=message_id, parents=list(parents), role="user", text=text)
    return message_id


def heard(client: YWebsocketClient, count: int) -> list[str]:
    """Wait until a browser has so many messages; returns what they say."""
    client.do("wait", messages=count)
    return [message["text"] for message in client.do("read")["messages"]]


def test_two_browsers_and_the_command_line_share_a_conversation(
    server: Daemon, browsers: list[YWebsocketClient]
) -> None:
    """What a browser writes is read by the other and by conv, and what conv writes by both."""
    first = say(browsers[0], "Grüße 😀")
    assert heard(browsers[1], 1) == ["Grüße 😀"]
    answer = conv_json(server.db, "append", browsers[0].room, "hello, browser")
    assert answer["parents"] == [first]
    for browser in browsers:
        assert heard(browser, 2) == ["Grüße 😀", "hello, browser"]
    message = browsers[1].do("read")["messages"][1]
    assert (message["created"], message["nonce"], message["parents"]) == ("number", "Uint8Array", [first])


def test_what_browsers_write_offline_is_merged(server: Daemon, browsers: list[YWebsocketClient]) -> None:
    """Both write while cut off; when they come back everybody reads one log, and conv calls it diverged."""
    first = say(browsers[0], "together")
    heard(browsers[1], 1)
    for number, browser in enumerate(browsers):
        browser.do("disconnect")
        say(browser, f"alone {number}", first)
    for browser in browsers:
        browser.do("connect")
    for browser in browsers:
        assert sorted(heard(browser, 3)) == ["alone 0", "alone 1", "together"]
    shown = conv_json(server.db, "show", browsers[0].room)
    assert (len(shown["messages"]), shown["diverged"]) == (3, True)


def test_a_browser_finds_everything_after_a_restart(tmp_path: Path) -> None:
    """The first client of a cold document gets it whole, from a daemon that was started again."""
    room = new_id()
    for count in (1, 2):
        with daemon(tmp_path / "chats.db", "--no-executor") as server:
            client = YWebsocketClient(server.ws, room)
            try:
                client.do("wait", messages=count - 1)
                say(client, f"message {count}")
                # Its echo is seen by another client only when it is on disk.
                other = YWebsocketClient(server.ws, room)
                assert len(heard(other, count)) == count
                other.close()
            finally:
                client.close()


def test_a_wrong_token_ends_a_browser_s_attempts(server: Daemon) -> None:
    """y-websocket is closed with a code that it takes for final, and does not come back for ever."""
    client = YWebsocketClient(server.ws, new_id(), token="wrong")
    event = client.next()
    client.close()
    assert (event["event"], event["code"]) == ("closed", 4401)
