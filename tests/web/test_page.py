"""The page by itself: what it may do, and that the tests would notice if it did more."""

from __future__ import annotations

import pytest

from tests.web.devices import Open

BODY = "document.body.innerHTML = "
SCRIPT = "Object.assign(document.createElement('script'), {text: 'alert(1)'})"
FORM = "'<form action=/x><button>x</button></form>'; document.querySelector('button').click()"


@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("alert(1)", "dialog: alert 1"),
        (f"document.body.append({SCRIPT})", "policy: script-src-elem"),
        (f"{BODY}'<img src=x onerror=alert(1)>'", "policy: script-src-attr"),
        (f"{BODY}'<b style=\"color: red\">x</b>'", "policy: style-src-attr"),
        (f"{BODY}'<img src=http://127.0.0.1:9/x>'", "policy: img-src"),
        (f"{BODY}'<iframe src=/></iframe>'", "policy: frame-src"),
        (f"{BODY}{FORM}", "policy: form-action"),
        ("fetch('http://127.0.0.1:9/').catch(() => {})", "policy: connect-src"),
        ("new WebSocket('ws://127.0.0.1:9/')", "policy: connect-src"),
        ("setTimeout(() => { throw new Error('oh') })", "error: oh"),
        ("console.error('odd')", "console: odd"),
    ],
)
def test_what_no_page_may_do_is_noted(device: Open, script: str, note: str) -> None:
    """The fence holds in a real browser, and whatever runs into it fails a test."""
    one = device()
    one.page.goto(f"{one.url}/")
    one.page.evaluate(f"() => {{ {script} }}")
    one.until(lambda: any(text.startswith(note) for text in one.notes))
    one.notes.clear()


def test_the_page_s_own_sockets_pass(device: Open) -> None:
    """'self' covers the sockets of this very host and port."""
    one = device()
    one.page.goto(f"{one.url}/")
    code = one.page.evaluate(
        """() => new Promise((resolve) => {
          const socket = new WebSocket(location.origin.replace('http', 'ws') + '/sync/x?token=wrong')
          socket.onclose = (event) => resolve(event.code)
        })"""
    )
    assert code == 4401
