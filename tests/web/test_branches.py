"""Forks, merges, and the picture of them."""

from __future__ import annotations

from playwright.sync_api import expect

from crdt_conv import Conversation
from tests.e2e.programs import Daemon
from tests.web.devices import Open
from tests.web.documents import changed, log, texts, written


def test_a_fork_is_written_on_and_merged(server: Daemon, device: Open) -> None:
    """From a message's menu; the picker goes between the two; the merge is one message on both devices."""
    conversation = written(server.url, "Trip", lambda made: made.append("user", "Where?"))
    laptop, phone = (device().sign_in(at=f"/{conversation}") for _ in range(2))
    laptop.messages.first.hover()
    laptop.choose("More", "Fork here", laptop.messages.first)
    laptop.shows("Where?")
    laptop.say("If it rains: a museum.", ask=False)
    laptop.shows("Where?", "If it rains: a museum.")
    picker = laptop.page.get_by_role("combobox", name="Branch")
    branch = picker.input_value()
    assert branch != "main"
    picker.select_option("main")
    laptop.shows("Where?")
    laptop.say("To the sea.", ask=False)
    phone.shows("Where?", "To the sea.")
    laptop.choose("Conversation menu", "Merge a branch…")
    dialog = laptop.page.get_by_role("dialog", name="Merge a branch")
    expect(dialog.get_by_role("status")).to_have_text("1 message comes with it.")
    dialog.get_by_role("button", name="Merge", exact=True).click()
    for one in (laptop, phone):
        expect(one.page.get_by_text("was merged here")).to_be_visible()
    assert texts(server.url, conversation) == ["Where?", "If it rains: a museum.", "To the sea.", ""]
    shown = log(server.url, conversation)
    assert [message["role"] for message in shown["messages"]] == ["user", "user", "user", "merge"]


def test_the_same_merge_on_two_devices_is_one(server: Daemon, device: Open) -> None:
    """One in the browser that is cut off, one in Python: the ids are the same."""
    conversation = written(server.url, "Same", lambda made: made.append("user", "Where?"))

    def fork(made: Conversation) -> None:
        made.fork("rain", made.log().messages[0].id)
        made.append("user", "A museum.", branch="rain")
        made.append("user", "The sea.")

    changed(server.url, conversation, fork)
    one = device().sign_in(at=f"/{conversation}")
    one.shows("Where?", "The sea.")
    one.offline(cut=True)
    one.choose("Conversation menu", "Merge a branch…")
    one.page.get_by_role("dialog").get_by_role("button", name="Merge", exact=True).click()
    expect(one.page.get_by_text("was merged here")).to_be_visible()
    merged = changed(server.url, conversation, lambda made: made.merge("rain"))
    assert merged is not None
    one.offline(cut=False)
    one.stands("In sync")
    assert log(server.url, conversation)["heads"] == [merged.id]


def test_the_graph_leads_to_messages(server: Daemon, device: Open) -> None:
    """Each message is a node that can be reached and pressed."""
    conversation = written(server.url, "Graph", lambda made: made.append("user", "Where?"))

    def fork(made: Conversation) -> None:
        made.fork("rain", made.log().messages[0].id)
        made.append("user", "A museum.", branch="rain")
        made.append("user", "The sea.")

    changed(server.url, conversation, fork)
    one = device().sign_in(at=f"/{conversation}?panel=graph")
    one.page.get_by_role("button", name="A museum.").click()
    one.shows("Where?", "A museum.")
