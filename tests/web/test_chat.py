"""A person and a model: asking, watching the answer come, stopping it, asking again."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from crdt_conv import Conversation
from tests.e2e.programs import Daemon
from tests.web.devices import Device, Open
from tests.web.documents import LONG, log, target, texts, written

pytestmark = pytest.mark.usefixtures("model")


def asked_at_length(conversation: Conversation) -> None:
    """Have every answer take so long that it is seen in its middle."""
    target(conversation, "llamacpp", temperature=0, json_schema=LONG)


def in_its_middle(device: Device) -> str:
    """Wait until an answer is being written, and return what stands there."""
    growing = device.page.locator("article[data-status=streaming] .body")
    expect(growing).to_have_text(re.compile(r".{8}", re.DOTALL))
    return growing.inner_text()


def test_a_question_is_answered_on_both_devices(server: Daemon, device: Open) -> None:
    """The link signs in and its token leaves the address; the answer is in both pages and on the disk."""
    laptop = device().sign_in()
    expect(laptop.button("New conversation").first).to_be_visible()
    assert "token" not in laptop.page.url
    # So small a model may talk until its context is full, and nobody else is answered meanwhile.
    conversation = written(server.url, "", lambda made: target(made, "llamacpp", max_tokens=40))
    laptop.go(f"/{conversation}")
    laptop.say("Say hello.")
    phone = device(viewport={"width": 390, "height": 844}).sign_in(at=f"/{conversation}")
    for one in (laptop, phone):
        expect(one.answers).to_have_attribute("data-status", "complete")
        one.stands("In sync")
    [question, answer] = log(server.url, conversation)["messages"]
    assert (question["text"], question["author"]["kind"]) == ("Say hello.", "human")
    assert answer["status"] == "complete"
    assert answer["text"].strip()
    said = [one.answers.locator(".body").inner_text() for one in (laptop, phone)]
    assert said[0] == said[1]
    expect(laptop.page).to_have_title(re.compile("^Say hello."))


def test_an_answer_is_watched_reloaded_and_stopped(server: Daemon, device: Open) -> None:
    """Another device sees it come; a reload in its middle loses nothing; stopping keeps what had come."""
    conversation = written(server.url, "At length", asked_at_length)
    laptop, phone = (device().sign_in(at=f"/{conversation}") for _ in range(2))
    laptop.say("Count.")
    before = in_its_middle(laptop)
    assert in_its_middle(phone)
    laptop.page.reload()
    assert len(in_its_middle(laptop)) >= len(before)
    phone.button("Stop").first.click()
    for one in (laptop, phone):
        expect(one.answers).to_have_attribute("data-status", "cancelled")
        one.stands("In sync")
    answer = log(server.url, conversation)["messages"][-1]
    assert answer["status"] == "cancelled"
    assert answer["text"].startswith(before[:8])


def test_a_message_is_edited_and_asked_again(server: Daemon, device: Open) -> None:
    """Both are versions that can be walked; nothing of before is lost."""
    conversation = written(server.url, "Twice", lambda made: target(made, "llamacpp", max_tokens=8))
    one = device().sign_in(at=f"/{conversation}")
    one.say("One plus one?")
    expect(one.answers).to_have_attribute("data-status", "complete")
    first = str(one.answers.get_attribute("data-message"))
    one.button("Ask again", one.answers).click()
    expect(one.page.get_by_label("Version 2 of 2")).to_be_visible()
    expect(one.answers).to_have_attribute("data-status", "complete")
    expect(one.answers).not_to_have_attribute("data-message", first)
    one.button("Previous version", one.answers).click()
    expect(one.answers).to_have_attribute("data-message", first)
    question = one.messages.first
    question.hover()
    one.button("Edit", question).click()
    one.page.get_by_role("textbox", name="New text").fill("Two plus two?")
    one.button("Save and ask").click()
    expect(one.messages.first.locator(".body")).to_have_text("Two plus two?")
    expect(one.answers).to_have_attribute("data-status", "complete")
    one.button("Previous version", one.messages.first).click()
    expect(one.messages.first.locator(".body")).to_have_text("One plus one?")
    expect(one.answers).to_have_attribute("data-message", first)
    assert len(log(server.url, conversation)["messages"]) == 2


def test_a_message_goes_where_it_was_written(server: Daemon, device: Open) -> None:
    """Who looks at another conversation in the moment of sending has not written into that one."""
    first, second = (written(server.url, title) for title in ("First", "Second"))
    one = device().sign_in(at=f"/{first}")
    one.stands("In sync")
    one.field.fill("For the first.")
    one.field.evaluate(
        """(field, id) => {
          const keys = { key: 'Enter', ctrlKey: true, bubbles: true, cancelable: true }
          field.dispatchEvent(new KeyboardEvent('keydown', keys))
          document.querySelector(`a[href="#/${id}"]`).click()
        }""",
        second,
    )
    expect(one.page).to_have_title(re.compile("^Second"))
    one.until(lambda: texts(server.url, first) == ["For the first."])
    assert texts(server.url, second) == []
    assert one.conversation == second
