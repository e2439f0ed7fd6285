"""Stock Yjs clients, unmodified, in Node, against the real daemon: each test with each of them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest
from websockets.sync.server import ServerConnection, serve

from crdt_conv import Store, new_id
from syncd.protocol import CloseCode, is_final
from tests.e2e.programs import (
    DIALECTS,
    HOCUSPOCUS,
    Connect,
    Daemon,
    StockClient,
    conv_json,
    daemon,
    heard,
    node_is_missing,
    say,
)

pytestmark = pytest.mark.skipif(bool(node_is_missing()), reason=node_is_missing())


def test_two_browsers_and_the_command_line_share_a_conversation(server: Daemon, connect: Connect) -> None:
    """What a browser writes is read by the other and by conv, and what conv writes by both."""
    room = new_id()
    browsers = [connect(room), connect(room)]
    first = say(browsers[0], "Grüße 😀")
    assert heard(browsers[1], 1) == ["Grüße 😀"]
    answer = conv_json(server.db, "append", room, "hello, browser")
    assert answer["parents"] == [first]
    for browser in browsers:
        assert heard(browser, 2) == ["Grüße 😀", "hello, browser"]
    message = browsers[1].do("read")["messages"][1]
    assert (message["created"], message["nonce"], message["parents"]) == ("number", "Uint8Array", [first])


def test_dialects_share_a_document(start: Connect) -> None:
    """A client of each dialect in one room: all read the same."""
    room = new_id()
    browsers = [start(kind, room) for kind in DIALECTS]
    for number, browser in enumerate(browsers):
        say(browser, f"from {number}")
    for browser in browsers:
        assert sorted(heard(browser, 3)) == ["from 0", "from 1", "from 2"]


def test_what_browsers_write_offline_is_merged(server: Daemon, connect: Connect) -> None:
    """Both write while cut off; when they come back everybody reads one log, and conv calls it diverged."""
    room = new_id()
    browsers = [connect(room), connect(room)]
    first = say(browsers[0], "together")
    heard(browsers[1], 1)
    for number, browser in enumerate(browsers):
        browser.do("disconnect")
        say(browser, f"alone {number}", first)
    for browser in browsers:
        browser.do("connect")
    for browser in browsers:
        assert sorted(heard(browser, 3)) == ["alone 0", "alone 1", "together"]
    shown = conv_json(server.db, "show", room)
    assert (len(shown["messages"]), shown["diverged"]) == (3, True)


def test_concurrent_edits_of_one_text_converge(connect: Connect) -> None:
    """Two clients type into one text at the same time; both read the same, nothing twice."""
    room = new_id()
    browsers = [connect(room), connect(room)]
    for _ in range(20):
        for letter, browser in zip("ab", browsers, strict=True):
            browser.do("type", text=letter)
    for browser in browsers:
        browser.do("typed", length=40)
    texts = {browser.do("state")["text"] for browser in browsers}
    assert len(texts) == 1
    assert sorted(texts.pop()) == ["a"] * 20 + ["b"] * 20


def test_two_that_open_a_new_document_at_once_have_its_content_once(connect: Connect) -> None:
    """Both write before either is connected; each message is there once."""
    room = new_id()
    browsers = [connect(room), connect(room)]
    for number, browser in enumerate(browsers):
        say(browser, f"{number}")
    for browser in browsers:
        assert sorted(heard(browser, 2)) == ["0", "1"]


def test_a_cold_document_is_whole_when_a_client_is_in_sync(tmp_path: Path, dialect: str) -> None:
    """The first client of a stored document is never "synced" on an empty answer."""
    with Store(tmp_path / "chats.db") as store:
        conversation = store.create()
        for number in range(300):
            conversation.append("user", f"message {number}")
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        client = StockClient(dialect, server.ws, conversation.id)
        try:
            # In sync is all that is waited for.
            assert len(heard(client, 0)) == 300
        finally:
            client.close()


def test_a_daemon_that_is_killed_in_the_middle_loses_nothing(tmp_path: Path, dialect: str) -> None:
    """SIGKILL and a restart while a browser writes: it comes back, and all of it is there once."""
    room, db = new_id(), tmp_path / "chats.db"
    with daemon(db, "--no-executor") as server:
        client = StockClient(dialect, server.ws, room)
        try:
            client.do("settled")
            for _ in range(50):
                client.do("type", text="x")
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            for _ in range(50):
                client.do("type", text="y")
            with daemon(db, "--no-executor", port=server.port) as again:
                other = StockClient(dialect, again.ws, room)
                try:
                    other.do("typed", length=100)
                    assert sorted(other.do("state")["text"]) == ["x"] * 50 + ["y"] * 50
                finally:
                    other.close()
        finally:
            client.close()


def test_presence_is_seen_and_ends(connect: Connect) -> None:
    """A browser sees who else is here, and that they left."""
    room = new_id()
    browsers = [connect(room), connect(room)]
    for name, browser in zip(("ann", "bob"), browsers, strict=True):
        browser.do("wait", messages=0)
        browser.do("present", state={"name": name})
    for browser in browsers:
        names = {state["name"] for state in browser.do("presences", clients=2)["states"]}
        assert names == {"ann", "bob"}
    browsers[1].close()
    browsers[0].do("absent", clients=1)


def test_who_comes_back_is_seen_again(connect: Connect) -> None:
    """The others saw it leave at a later clock than its own, each time."""
    room = new_id()
    stays, leaves = connect(room), connect(room)
    for client in (stays, leaves):
        client.do("wait", messages=0)
        client.do("present", state={"name": "ann"})
    stays.do("presences", clients=2)
    for _ in range(2):
        leaves.do("disconnect")
        stays.do("absent", clients=1)
        leaves.do("connect")
        stays.do("presences", clients=2)


def test_a_wrong_token_is_told(connect: Connect, dialect: str) -> None:
    """Who shows a wrong token hears so for good, and does not come back for ever."""
    client = connect(new_id(), token="wrong")
    if dialect == "y-websocket":
        assert client.event("closed")["code"] == 4401
    else:
        assert "token" in client.event("denied")["reason"]


@pytest.mark.parametrize("dialect", HOCUSPOCUS)
def test_several_documents_share_a_socket(connect: Connect) -> None:
    """Two documents over one socket don't mix."""
    rooms = [new_id(), new_id()]
    browsers = [connect(*rooms), connect(*reversed(rooms))]
    say(browsers[0], "first", room=0)
    say(browsers[0], "second", room=1)
    assert heard(browsers[1], 1, room=1) == ["first"]
    assert heard(browsers[1], 1, room=0) == ["second"]


@pytest.mark.parametrize("dialect", HOCUSPOCUS)
@pytest.mark.parametrize("is_offline", [False, True], ids=["online", "offline"])
def test_in_the_moment_when_all_is_said_to_be_saved_it_is_on_disk(
    tmp_path: Path, dialect: str, *, is_offline: bool
) -> None:
    """SIGKILL out of the client's own event, as soon as nothing is unsynced: all that it has is there."""
    room, db = new_id(), tmp_path / "chats.db"
    with ExitStack() as ends, daemon(db, "--no-executor") as server:
        client = StockClient(dialect, server.ws, room)
        ends.callback(client.close)
        client.do("settled")
        if is_offline:
            client.do("disconnect")
        client.do("kill", pid=server.process.pid)
        client.do("type", text="x", times=300)
        if is_offline:
            client.do("erase", length=50)
            client.do("connect")
        said = client.event("killed")["text"]
        server.process.wait()
    assert len(said) == (250 if is_offline else 300)
    with daemon(db, "--no-executor") as server:
        other = StockClient(dialect, server.ws, room)
        try:
            other.do("settled")
            assert other.do("state")["text"] == said
        finally:
            other.close()


@pytest.mark.parametrize("dialect", HOCUSPOCUS)
def test_who_syncs_once_more_is_told_that_all_is_saved(connect: Connect) -> None:
    """``forceSync`` counts one change as unsynced, until the daemon asked and had its answer stored."""
    client = connect(new_id())
    client.do("type", text="x", times=3)
    client.do("settled")
    for _ in range(2):
        client.do("force")
        client.do("settled")


def test_a_daemon_that_restarts_tells_its_clients_to_come_back(tmp_path: Path, dialect: str) -> None:
    """SIGTERM closes with 1012; what is written meanwhile is merged when the daemon is there again."""
    room, db = new_id(), tmp_path / "chats.db"
    with ExitStack() as ends:
        with daemon(db, "--no-executor") as server:
            clients = [StockClient(dialect, server.ws, room) for _ in range(2)]
            for client in clients:
                ends.callback(client.close)
                client.do("type", text="a")
                client.do("typed", length=1)
        for client in clients:
            kind = "connection-close" if dialect == "y-websocket" else "closed"
            assert client.event(kind)["code"] == 1012
            client.do("type", text="b")
        with daemon(db, "--no-executor", port=server.port):
            for client in clients:
                client.do("typed", length=4)


def test_two_providers_of_one_document_share_a_socket(start: Connect) -> None:
    """Version 4 tells them apart by a session in the address, and may send its changes in batches."""
    options = {"OPTIONS": json.dumps({"sessionAwareness": True, "flushDelay": 50})}
    room = new_id()
    both = start("hocuspocus-4", room, room, environ=options)
    first = say(both, "from the first")
    assert heard(both, 1, room=1) == ["from the first"]
    say(both, "from the second", first, room=1)
    assert len(heard(both, 2)) == 2
    for number in range(2):
        both.do("settled", room=number)


@pytest.mark.parametrize("code", CloseCode)
def test_close_codes_mean_to_y_websocket_what_they_mean_to_us(code: CloseCode) -> None:
    """44xx stop it for good, and it says so; with every other code it comes back by itself."""
    with closing_server(code) as (url, connections):
        client = StockClient("y-websocket", url, "room")
        try:
            if is_final(code):
                assert client.event("closed")["code"] == code
                assert client.do("state")["stopped"]
                assert len(connections) == 1
            else:
                for _ in range(3):
                    assert client.event("connection-close")["code"] == code
                assert not client.do("state")["stopped"]
        finally:
            client.close()


@contextmanager
def closing_server(code: int) -> Iterator[tuple[str, list[str]]]:
    """Serve WebSockets that are closed at once; yields the URL, and the paths that were asked for."""
    paths: list[str] = []

    def close(socket: ServerConnection) -> None:
        paths.append(socket.request.path if socket.request is not None else "")
        socket.close(code, "because")

    with serve(close, "127.0.0.1", 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}", paths
        finally:
            server.shutdown()
            thread.join()
