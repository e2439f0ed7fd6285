"""For everybody: axe finds nothing serious in any view, and everything can be done from the keyboard."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from crdt_conv import Conversation, HiddenField, new_part
from tests.e2e.programs import NODE, Daemon
from tests.web.devices import Device, Open
from tests.web.documents import log, written

AXE = NODE / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="the packages of tests/e2e/node are too old: npm ci")

MARKDOWN = """# A heading

Words with *stress*, `code`, a [link](https://example.org) and ~~a slip~~.

- one
- [x] two

| a | b |
| - | - |
| 1 | 2 |

> said

```python
print("a line that is longer than a phone is wide, so that it has to be scrolled from side to side")
```
"""
VIEWS = {
    "log": "/{id}",
    "graph": "/{id}?panel=graph",
    "inspector": "/{id}?panel=inspect",
    "explain": "/{id}?panel=explain",
    "past": "/{id}?at={first}",
    "empty": "/nobody-wrote-here",
    "start": "/",
}
DIALOGS = {
    "merge": ("Conversation menu", "Merge a branch…"),
    "branch": ("Conversation menu", "Branch settings…"),
    "delete": ("Conversation menu", "Delete…"),
}


def rich(made: Conversation) -> None:
    """Have one of everything."""
    first = made.append("user", "Where shall we go?")
    sealed = HiddenField("anthropic", "anthropic", "signature", data="c2VhbGVk", binding="prefix")
    made.append("assistant", MARKDOWN, parts=[new_part("reasoning", text="Hm.")], hidden=[sealed], model="m")
    made.append("assistant", "Or stay.", parents=[first.id], model="m")
    made.fork("rain", first.id)
    made.append("user", "If it rains?", branch="rain")
    made.append("user", parts=[made.attach_bytes(b"x" * 2000, mime="text/plain", name="notes.txt")])
    made.append("assistant", parts=[new_part("tool_call", call_id="c", name="look", arguments='{"at": 1}')])
    made.append("tool", parts=[new_part("tool_result", call_id="c", content="rain", is_error=False)])
    made.merge("rain")
    made.redact(made.append("user", "forget this").id)


def violations(one: Device) -> list[str]:
    """Return what axe finds that is serious or worse, each with where it is."""
    # What fades in or out is not judged in its middle.
    one.page.evaluate(
        "() => Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {})))"
    )
    found: Any = one.page.evaluate(
        """async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
          .filter(({ impact }) => impact === 'serious' || impact === 'critical')
          .flatMap(({ id, nodes }) =>
            nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`))"""
    )
    return [str(each) for each in found]


@needs_axe
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(server: Daemon, device: Open, colours: str, width: int) -> None:
    """In any view or dialog, light and dark, on a desktop and on a phone."""
    conversation = written(server.url, "Everything", rich)
    first = log(server.url, conversation)["messages"][0]["id"]
    # What fades in would be judged in its middle.
    view = {"viewport": {"width": width, "height": 800}, "reduced_motion": "reduce"}
    one = device(color_scheme=colours, **view)
    # Not by a script in the page: its policy lets none in.
    one.context.add_init_script(path=AXE)
    one.page.goto(f"{one.url}/")
    expect(one.page.get_by_role("textbox", name="Link or token")).to_be_visible()
    found = {"signed out": violations(one)}
    one.sign_in()
    for name, at in VIEWS.items():
        one.go(at.format(id=conversation, first=first))
        expect(one.page.get_by_role("main")).to_be_visible()
        if name in {"log", "graph", "inspector", "explain"}:
            expect(one.messages.last).to_be_attached()
        found[name] = violations(one)
    one.go(f"/{conversation}")
    for name, way in DIALOGS.items():
        one.choose(*way)
        found[name] = violations(one)
        one.page.keyboard.press("Escape")
    assert {name: each for name, each in found.items() if each} == {}
