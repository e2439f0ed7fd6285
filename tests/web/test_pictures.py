"""The main views as the README shows them; looked at each time, kept where ``CONV_PICTURES`` is set."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from crdt_conv import Author, Conversation
from tests.e2e.programs import Daemon
from tests.web.devices import Device, Open
from tests.web.documents import written

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 780}

PLAN = """Three days are enough for the city and one trip to the coast:

| day | morning | evening |
| --- | --- | --- |
| 1 | Alfama, on foot | a *tasca* in Mouraria |
| 2 | tram 28, early | Cais do Sodré |
| 3 | train to Cascais | the sea |

Buy the `Viva Viagem` card first: it works on trams, metro and the train.
"""
RAIN = """Then swap day 3 for museums:

1. the **tile museum**, in a convent
2. the Gulbenkian, and lunch in its garden
3. fado, where nobody notices the rain
"""


def trip(made: Conversation) -> None:
    """Write what two people planned on two devices, with a fork and a merge."""
    ann, ben = (Author("human", device, name) for device, name in (("laptop", "Ann"), ("phone", "Ben")))
    model = Author("model", "daemon", "example-model")
    made.append("user", "We have three days in Lisbon in May. What should we see?", author=ann)
    plan = made.append("assistant", PLAN, author=model, model="example-model")
    made.fork("rain", plan.id)
    made.append("user", "And if it rains?", branch="rain", author=ben)
    made.append("assistant", RAIN, branch="rain", author=model, model="example-model")
    made.append("user", "Where do we eat with two children?", author=ann)
    made.append(
        "assistant",
        "At the *Time Out Market*: everybody chooses, and there is room to run.",
        author=model,
        model="example-model",
    )
    made.merge("rain")
    made.append("user", "Put both into one list, please.", author=ben)
    made.append(
        "assistant",
        "**Dry:** Alfama, tram 28, Cascais. **Wet:** tiles, the Gulbenkian, fado. **Always:** the market.",
        author=model,
        model="example-model",
    )
    made.fork("longer", made.log().messages[1].id)
    made.append("user", "What with a week?", branch="longer", author=ann)


OTHERS = ("Letters to the landlord", "Why is the sky blue?", "A bug in the parser", "Names for a cat")


@pytest.fixture(scope="module")
def conversation(server: Daemon) -> str:
    """Return the conversation that is shown, among others."""
    for title in OTHERS:
        written(server.url, title, lambda made: made.append("user", "Hello."))
    return written(server.url, "Lisbon in May", trip)


def keep(one: Device, name: str) -> None:
    """Take a picture, and keep it where that is wanted."""
    if os.environ.get("CONV_PICTURES"):
        # Which model answers is known a moment after the page is there.
        expect(one.button(re.compile("^Model: "))).not_to_have_text("llamacpp")
    one.page.mouse.move(0, 0)
    one.page.evaluate("() => document.activeElement?.blur()")
    picture = one.page.screenshot(animations="disabled", caret="hide")
    if os.environ.get("CONV_PICTURES"):
        PICTURES.joinpath(f"web-{name}.png").write_bytes(picture)
    assert len(picture) > 10_000


@pytest.mark.parametrize(
    ("name", "at", "options"),
    [
        ("light", "", {"viewport": DESKTOP, "color_scheme": "light"}),
        ("dark", "", {"viewport": DESKTOP, "color_scheme": "dark"}),
        ("graph", "?panel=graph", {"viewport": DESKTOP, "color_scheme": "light"}),
        ("phone", "", {"viewport": PHONE, "color_scheme": "light", "has_touch": True}),
    ],
)
def test_a_main_view(device: Open, conversation: str, name: str, at: str, options: dict[str, object]) -> None:
    """It shows the conversation, in sync, and nothing of it is wider than the page."""
    one = device(**options).sign_in(at=f"/{conversation}{at}")
    expect(one.messages.last).to_contain_text("Always:")
    one.stands("In sync")
    width = one.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert width <= 0
    keep(one, name)
