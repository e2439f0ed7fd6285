"""A model that wants to do something asks first, in the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.programs import Daemon
from tests.web.answering import ADAPTER, MODEL, executor
from tests.web.devices import Open
from tests.web.documents import log, target, written


@pytest.mark.parametrize("answer", ["Approve", "Refuse"])
def test_a_call_waits_for_a_person(server: Daemon, device: Open, answer: str) -> None:
    """It is shown with its arguments on both devices, either may answer, and only then it is made or not."""
    conversation = written(server.url, "Postcard", lambda made: target(made, ADAPTER, MODEL))
    laptop, phone = (device().sign_in(at=f"/{conversation}") for _ in range(2))
    with executor(server.url, conversation, "Rome") as posting:
        laptop.say("Write to Rome.")
        for one in (laptop, phone):
            asked = one.page.get_by_role("region", name="Approve send_postcard?")
            expect(asked).to_contain_text('"to": "Rome"')
        assert posting.sent == []
        phone.button(answer).click()
        for one in (laptop, phone):
            expect(one.messages.get_by_text("That was that.")).to_be_visible()
            expect(one.page.get_by_role("region", name="Approve send_postcard?")).to_have_count(0)
            one.stands("In sync")
    assert posting.sent == (["Rome"] if answer == "Approve" else [])
    assert [message["role"] for message in log(server.url, conversation)["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
