"""Networks that go and come back: what was written waits, is there after a reload, and is merged."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import WebSocket, WebSocketRoute, expect

from crdt_conv import Conversation, Store
from tests.e2e.programs import Daemon, daemon
from tests.web.cables import Cable
from tests.web.devices import Open
from tests.web.documents import log, texts, written


def begun(conversation: Conversation) -> None:
    """Begin with a message."""
    conversation.append("user", "Where shall we go?")


def test_two_devices_that_wrote_apart_are_merged(server: Daemon, device: Open) -> None:
    """One is cut off and says so; both write; afterwards both show both, and the next message joins them."""
    conversation = written(server.url, "Apart", begun)
    laptop, phone = (device().sign_in(at=f"/{conversation}") for _ in range(2))
    for one in (laptop, phone):
        one.shows("Where shall we go?")
        one.stands("In sync")
    phone.offline(cut=True)
    phone.stands("Offline")
    phone.say("By train.", ask=False)
    phone.stands("Offline · ")
    laptop.say("To the sea.", ask=False)
    laptop.stands("In sync")
    phone.shows("Where shall we go?", "By train.")
    phone.offline(cut=False)
    for one in (laptop, phone):
        one.stands("In sync")
        expect(one.page.get_by_text("2 devices wrote apart from each other.")).to_be_visible()
    both = texts(server.url, conversation)
    assert sorted(both[1:]) == ["By train.", "To the sea."]
    laptop.shows(*both)
    phone.shows(*both)
    phone.say("Both!", ask=False)
    laptop.shows(*both, "Both!")
    shown = log(server.url, conversation)
    assert not shown["diverged"]
    assert len(shown["messages"][-1]["parents"]) == 2


def test_a_socket_that_dies_or_falls_silent_loses_nothing(server: Daemon, device: Open) -> None:
    """Cut through and mended, and cut without a word; each message is there once."""
    conversation = written(server.url, "Cable", begun)
    with Cable(server.port) as cable:
        one = device(cable.url).sign_in(at=f"/{conversation}")
        one.stands("In sync")
        cable.cut()
        one.stands("Offline")
        one.say("While it is cut.", ask=False)
        cable.mend()
        one.stands("In sync")
        cable.hush()
        one.say("While it is silent.", ask=False)
        one.stands("Syncing")
        cable.cut()
        cable.mend()
        one.stands("In sync")
        # While the cable lies: the page holds sockets to it.
        one.close()
    assert texts(server.url, conversation) == [
        "Where shall we go?",
        "While it is cut.",
        "While it is silent.",
    ]


def test_a_daemon_that_is_killed_comes_back(tmp_path: Path, device: Open) -> None:
    """What was said to be in sync was on its disk; what is written meanwhile waits, through a reload too."""
    with daemon(tmp_path / "chats.db", "--no-executor") as first:
        one = device(first.url).sign_in()
        conversation = one.begin()
        one.say("Before.", ask=False)
        one.stands("In sync")
        first.process.kill()
        first.process.wait()
        one.stands("Offline")
        one.say("Meanwhile.", ask=False)
        one.shows("Before.", "Meanwhile.")
    with Store(tmp_path / "chats.db") as store:
        assert [message.text for message in store.open(conversation).log().messages] == ["Before."]
    with daemon(tmp_path / "chats.db", "--no-executor", port=first.port) as second:
        # Somewhere else, in a page that was loaded anew: what waits is sent all the same.
        one.go("/")
        one.page.reload()
        one.stands("In sync")
        assert texts(second.url, conversation) == ["Before.", "Meanwhile."]
        one.go(f"/{conversation}")
        one.shows("Before.", "Meanwhile.")


def test_the_page_opens_with_no_network_at_all(server: Daemon, device: Open) -> None:
    """After one visit: it shows what is stored, takes what is written, and hands it over later."""
    conversation = written(server.url, "Tunnel", begun)
    # By a cable: what a browser is told to take for a lost network does not reach its service workers.
    with Cable(server.port) as cable:
        one = device(cable.url).sign_in(at=f"/{conversation}")
        one.shows("Where shall we go?")
        one.lose(cable)
        one.page.reload()
        one.shows("Where shall we go?")
        one.stands("Offline")
        one.say("Into the tunnel.", ask=False)
        one.page.reload()
        one.shows("Where shall we go?", "Into the tunnel.")
        cable.mend()
        one.stands("In sync")
        one.close()
    assert texts(server.url, conversation) == ["Where shall we go?", "Into the tunnel."]


def is_sync_status(frame: bytes) -> bool:
    """Whether a frame of Hocuspocus' says that what was sent is stored: behind the name stands an 8."""
    return frame[1 + frame[0]] == 8


def test_it_is_in_sync_only_when_the_daemon_says_so(server: Daemon, device: Open) -> None:
    """All is here and nothing was written: it is not called in sync before the daemon has confirmed it."""
    conversation = written(server.url, "Confirmed", begun)
    held: list[Callable[[], None]] = []
    one = device()

    def connect(page: WebSocketRoute) -> None:
        def from_daemon(frame: str | bytes) -> None:
            if isinstance(frame, bytes) and is_sync_status(frame):
                held.append(lambda: page.send(frame))
            else:
                page.send(frame)

        page.connect_to_server().on_message(from_daemon)

    one.page.route_web_socket("**/collab*", connect)
    one.sign_in(at=f"/{conversation}")
    one.shows("Where shall we go?")
    one.until(lambda: bool(held))
    one.stands("Syncing")
    for send in held:
        send()
    one.stands("In sync")


def test_archived_on_one_device_is_archived_on_all(server: Daemon, device: Open) -> None:
    """Another device never opened it, and its list shows it among the archived all the same."""
    written(server.url, "Put away", lambda conversation: conversation.archive())
    here = written(server.url, "At hand", begun)
    one, other = device().sign_in(at=f"/{here}"), device().sign_in()
    for each in (one, other):
        expect(each.page.get_by_role("link", name="At hand")).to_be_visible()
        expect(each.page.get_by_role("link", name="Put away")).to_have_count(0)
    one.choose("Options for At hand", "Archive")
    expect(other.page.get_by_role("link", name="At hand")).to_have_count(0)
    other.button(re.compile("^Archived")).click()
    expect(other.page.get_by_role("link", name="At hand")).to_be_visible()
    expect(other.page.get_by_role("link", name="Put away")).to_be_visible()


def test_a_page_with_nothing_open_stays_in_sync(device: Open) -> None:
    """The daemon ends its idle socket after ten seconds and the page opens another: nobody sees it."""
    one = device().sign_in()
    one.stands("In sync")
    opened: list[WebSocket] = []

    def note(socket: WebSocket) -> None:
        opened.append(socket)

    one.page.on("websocket", note)
    one.page.evaluate("""() => {
      const badge = document.querySelector('.sync')
      new MutationObserver(() => window.noteViolation(`it said ${badge.textContent}`))
        .observe(badge, { subtree: true, characterData: true, childList: true })
    }""")
    one.until(lambda: len(opened) > 0)
    one.stands("In sync")
