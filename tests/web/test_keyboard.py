"""Everything from the keyboard: no mouse touches the page here."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.programs import TOKEN, Daemon
from tests.web.devices import Device, Open
from tests.web.documents import log, written


def sign_in(one: Device) -> None:
    """Paste the link."""
    one.page.goto(f"{one.url}/")
    expect(one.page.get_by_role("textbox", name="Link or token")).to_be_focused()
    one.page.keyboard.type(f"{one.url}/#token={TOKEN}")
    one.page.keyboard.press("Enter")
    expect(one.button("New conversation").first).to_be_visible()


def test_a_day_s_work_without_a_mouse(server: Daemon, device: Open) -> None:
    """Sign in, begin, write, move among messages, fork, merge, look at the graph, search."""
    one = device()
    keys = one.page.keyboard
    sign_in(one)
    keys.press("n")
    expect(one.field).to_be_focused()
    for text in ("Where shall we go?", "To the sea."):
        keys.type(text)
        # The next is typed at once, while this one is under way.
        keys.press("Control+Enter")
    one.shows("Where shall we go?", "To the sea.")
    conversation = one.conversation
    # Back to the last message, and up to the first.
    keys.press("Escape")
    keys.press("k")
    expect(one.messages.last).to_be_focused()
    keys.press("Home")
    expect(one.messages.first).to_be_focused()
    keys.press("f")
    expect(one.page.get_by_role("combobox", name="Branch")).to_have_value(re.compile("^(?!main$)"))
    one.shows("Where shall we go?")
    keys.press("m")
    expect(one.field).to_be_focused()
    keys.type("If it hails?")
    keys.press("Control+Enter")
    one.shows("Where shall we go?", "If it hails?")
    keys.press("Escape")
    keys.press("b")
    merge = one.page.get_by_role("dialog", name="Merge a branch")
    expect(merge).to_be_visible()
    while not merge.get_by_role("button", name="Merge", exact=True).evaluate(
        "(it) => it === document.activeElement"
    ):
        keys.press("Tab")
    keys.press("Enter")
    expect(one.page.get_by_text("was merged here")).to_be_visible()
    keys.press("g")
    graph = one.page.get_by_role("complementary", name="Graph")
    expect(graph).to_be_visible()
    keys.press("Escape")
    expect(graph).to_have_count(0)
    keys.press("/")
    expect(one.page.get_by_role("searchbox")).to_be_focused()
    keys.type("hails")
    expect(one.page.get_by_role("navigation").get_by_role("link", name="hails")).to_be_visible()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(one.messages.filter(has_text="If it hails?")).to_be_visible()
    one.stands("In sync")
    [first, second, _, merged] = log(server.url, conversation)["messages"]
    assert (first["text"], second["text"], merged["role"]) == ("Where shall we go?", "To the sea.", "merge")


def test_a_menu_takes_arrows_and_gives_the_focus_back(server: Daemon, device: Open) -> None:
    """As menus do: arrows and Home and End move in it, Escape closes it, and the focus is where it was."""
    one = device().sign_in(at=f"/{written(server.url, 'Menu', lambda made: made.append('user', 'Hello.'))}")
    keys = one.page.keyboard
    button = one.button("Conversation menu")
    button.focus()
    keys.press("Enter")
    items = one.page.get_by_role("menuitem")
    expect(items.first).to_be_focused()
    keys.press("ArrowDown")
    expect(items.nth(1)).to_be_focused()
    keys.press("End")
    expect(items.last).to_be_focused()
    keys.press("Escape")
    expect(items).to_have_count(0)
    expect(button).to_be_focused()
    keys.press("Enter")
    expect(items.first).to_be_focused()
    keys.press("End")
    keys.press("Enter")
    dialog = one.page.get_by_role("dialog", name="Delete this conversation?")
    expect(dialog).to_be_visible()
    # What is behind it can't be reached.
    for _ in range(6):
        keys.press("Tab")
        assert not one.page.evaluate("() => document.activeElement.matches('.page *:not(dialog *)')")
    keys.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
