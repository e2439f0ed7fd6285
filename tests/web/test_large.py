"""A conversation of 10,000 messages: what is seen is in the page, and no more."""

from __future__ import annotations

from playwright.sync_api import expect

from crdt_conv import Conversation
from tests.e2e.programs import Daemon
from tests.web.devices import Device, Open
from tests.web.documents import written

COUNT = 10_000
MOST_NODES = 3_000
"""Some fifty messages and all that stands around them."""


def many(made: Conversation) -> None:
    """Write so many, of very different length."""
    for number in range(COUNT):
        made.append(
            "user" if number % 2 == 0 else "assistant", f"Message {number}. " + "words " * (number % 80)
        )


def nodes(one: Device) -> int:
    """Return how many elements the page has."""
    return int(one.page.evaluate("() => document.querySelectorAll('*').length"))


def test_ten_thousand_messages_open_and_scroll(server: Daemon, device: Open) -> None:
    """At the end at first, then anywhere: each place shows its messages, and the page stays small."""
    conversation = written(server.url, "Long", many)
    one = device().sign_in(at=f"/{conversation}")
    expect(one.messages.last).to_contain_text(f"Message {COUNT - 1}.")
    expect(one.messages.last).to_have_attribute("aria-setsize", str(COUNT))
    assert nodes(one) < MOST_NODES
    scroller = one.page.locator(".log")
    for part in (0.75, 0.5, 0.25, 0):
        scroller.evaluate("(log, part) => { log.scrollTop = log.scrollHeight * part }", part)
        expect(one.messages.first).to_be_attached()
        # What is in sight is drawn: no gap stands there.
        one.page.wait_for_function(
            """() => {
              const box = document.querySelector('.log').getBoundingClientRect()
              const found = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)
              return found.closest('.slot') !== null
            }"""
        )
        assert nodes(one) < MOST_NODES
    expect(one.messages.first).to_contain_text("Message 0.")
    one.say("And one more.", ask=False)
    scroller.evaluate("(log) => { log.scrollTop = log.scrollHeight }")
    expect(one.messages.last).to_contain_text("And one more.")
    one.stands("In sync")
    one.button("Graph").click()
    expect(
        one.page.get_by_role("complementary", name="Graph").get_by_role("button", name="And one more.")
    ).to_be_visible()
    assert nodes(one) < MOST_NODES
