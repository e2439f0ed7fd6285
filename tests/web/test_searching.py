"""Searching, and deleting, with and without a network."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Route, expect

from crdt_conv import Conversation
from tests.e2e.programs import Daemon, token_for
from tests.web.cables import Cable
from tests.web.devices import Device, Open
from tests.web.documents import KEY, written


def said(*texts: str) -> Callable[[Conversation], None]:
    """Return what writes some messages."""

    def write(conversation: Conversation) -> None:
        for text in texts:
            conversation.append("user", text)

    return write


def found(one: Device, words: str) -> list[str]:
    """Search, and return what is found, title by title, as it stands in the list."""
    one.page.get_by_role("searchbox").fill("")
    one.page.get_by_role("searchbox").fill(words)
    expect(one.page.get_by_role("heading", name="found")).to_be_visible()
    return [" ".join(text.split()) for text in one.page.locator(".row.is-found").all_inner_texts()]


def test_what_this_browser_has_is_searched_offline(server: Daemon, device: Open) -> None:
    """Titles of the list, and texts of what was opened here: accents and case don't matter, quotes do."""
    long = "before " * 200 + "the Café Central of Vienna " + "after " * 200
    read = written(server.url, "Vienna trip", said("Where shall we eat?", long))
    other = written(server.url, "Packing", said("Central heating is no CAFE", "gone", "Take a hat"))
    unread = written(server.url, "Never opened café", said("central central"))
    one = device().sign_in(at=f"/{read}")
    one.stands("In sync")
    one.go(f"/{other}")
    one.shows("Central heating is no CAFE", "gone", "Take a hat")
    one.stands("In sync")
    # Anew, so that nothing but what is stored can be found.
    one.go("/")
    one.page.reload()
    expect(one.page.get_by_role("link", name="Never opened café")).to_be_visible()
    one.stands("In sync")
    one.offline(cut=True)
    one.stands("Offline")
    hits = found(one, "cafe central")
    expect(one.page.get_by_text("Offline: what this browser has is searched.")).to_be_visible()
    assert [hit.partition(" ")[0] for hit in hits] == ["Packing", "Vienna"]
    assert "the Café Central of Vienna" in hits[1]
    assert len(hits[1]) < 250
    expect(one.page.locator(".is-found mark")).to_have_text(["Central", "CAFE", "Café", "Central"])
    assert len(found(one, '"cafe central"')) == 1
    assert found(one, "never CAFE") == ["Never opened café"]
    assert found(one, "nothing of this") == []
    found(one, "hat")
    one.page.get_by_role("link", name="Take a hat").click()
    one.shows("Central heating is no CAFE", "gone", "Take a hat")
    assert one.conversation == other
    assert unread not in one.page.url


def test_what_was_redacted_is_not_found_offline(server: Daemon, device: Open) -> None:
    """Its old bytes may still be among what is stored; what is written offline is found at once."""

    def redact(conversation: Conversation) -> None:
        conversation.redact(conversation.append("user", "the secret word").id)

    conversation = written(server.url, "Secrets", redact)
    one = device().sign_in(at=f"/{conversation}")
    expect(one.page.get_by_text("This message was redacted.")).to_be_visible()
    one.stands("In sync")
    one.offline(cut=True)
    one.say("a harmless word", ask=False)
    assert found(one, "secret") == ["Secrets"]
    assert found(one, "harmless") == ["Secrets a harmless word"]


def delete(one: Device, title: str) -> None:
    """Delete a conversation in the list, for good."""
    one.choose(f"Options for {title}", "Delete…")
    # It looks like a dialog, and not like a row of the list that it was opened from.
    expect(one.button("Close", one.page.get_by_role("dialog"))).to_have_css("opacity", "1")
    one.button("Delete for good").click()
    expect(one.page.get_by_role("link", name=title)).to_have_count(0)


def status(server: Daemon, conversation: str, key: str = KEY["Authorization"]) -> int:
    """Return what the daemon answers for a conversation."""
    url = f"{server.url}/api/conversations/{conversation}"
    return httpx.get(url, headers={"Authorization": key}).status_code


def test_a_deletion_waits_for_the_network(server: Daemon, device: Open) -> None:
    """It is gone here at once, and stays so through a reload; the daemon is told when it is back."""
    gone, kept = (written(server.url, title, said("hello")) for title in ("Goes away", "Stays"))
    with Cable(server.port) as cable:
        one = device(cable.url).sign_in(at=f"/{gone}")
        one.shows("hello")
        one.lose(cable)
        delete(one, "Goes away")
        expect(one.page.get_by_text("the daemon is told when it is back")).to_be_visible()
        one.stands("Offline · 1 waiting")
        one.page.reload()
        one.stands("Offline · 1 waiting")
        expect(one.page.get_by_role("link", name="Stays")).to_be_visible()
        expect(one.page.get_by_role("link", name="Goes away")).to_have_count(0)
        assert status(server, gone) == 200
        cable.mend()
        one.stands("In sync")
        one.close()
    assert (status(server, gone), status(server, kept)) == (410, 200)


@pytest.mark.parametrize("is_offline", [False, True])
def test_a_deletion_that_is_refused_is_told(server: Daemon, device: Open, *, is_offline: bool) -> None:
    """Who may not delete keeps the conversation, now or when the daemon is back, and hears why."""
    title = f"Not yours {is_offline}"
    conversation = written(server.url, title, said("hello"))
    token = token_for(server.db, "guest", everywhere="read,write")
    one = device()
    # The daemon sees a first key within a second.
    one.until(lambda: status(server, conversation, f"Bearer {token}") == 200)
    one.sign_in(token)
    # What is refused again is told again, in the same words.
    for _ in range(2):
        expect(one.page.get_by_role("link", name=title)).to_be_visible()
        one.offline(cut=is_offline)
        if is_offline:
            one.stands("Offline")
            delete(one, title)
            one.offline(cut=False)
        else:
            one.choose(f"Options for {title}", "Delete…")
            one.button("Delete for good").click()
        told = one.page.get_by_role("alert").filter(has_text="admin")
        expect(told).to_be_visible()
        one.button("Dismiss", told).click()
        expect(told).to_have_count(0)
    one.go(f"/{conversation}")
    one.shows("hello")
    one.stands("In sync")
    assert status(server, conversation) == 200


def test_a_daemon_that_can_t_delete_now_is_asked_again(server: Daemon, device: Open) -> None:
    """Until it has, the conversation is listed no more, however often the list is read."""
    conversation = written(server.url, "Busy daemon", said("hello"))
    one = device().sign_in()
    expect(one.page.get_by_role("link", name="Busy daemon")).to_be_visible()
    refused: list[str] = []

    def refuse(route: Route) -> None:
        if route.request.method == "DELETE":
            refused.append(route.request.url)
            route.fulfill(status=429 if len(refused) == 1 else 503, json={"title": "busy"})
        else:
            route.continue_()

    one.page.route(f"**/api/conversations/{conversation}", refuse)
    delete(one, "Busy daemon")
    after = written(server.url, "Written after", said("hello"))
    expect(one.page.get_by_role("link", name="Written after")).to_be_visible()
    one.page.reload()
    one.until(lambda: len(refused) == 2)
    expect(one.page.get_by_role("link", name="Written after")).to_be_visible()
    expect(one.page.get_by_role("link", name="Busy daemon")).to_have_count(0)
    one.page.unroute(f"**/api/conversations/{conversation}")
    # With nothing done: it asks again by itself.
    one.stands("In sync")
    assert (status(server, conversation), status(server, after)) == (410, 200)
