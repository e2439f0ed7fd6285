"""
Devices: a browser with storage and network of its own, which notes whatever no page of ours may do.

A dialog, an error that nobody caught, a violation of the page's policy, a request to anybody but the daemon:
each of them fails the test, whatever else it finds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from playwright.sync_api import expect

from tests.e2e.programs import TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

    from tests.web.cables import Cable

CHROMIUM = shutil.which("chromium")
WAIT_MS = 40_000
"""So long may something take to show where the machine is busy; what is there is seen at once."""
expect.set_options(timeout=WAIT_MS)

# What a browser writes when a network is gone or a daemon says no: no fault of the page.
_EXPECTED = re.compile(
    r"net::ERR_|Failed to load resource|WebSocket connection to|WebSocket is closed|NetworkError"
)
# Heard from before the page's own scripts run.
_LISTEN = """
addEventListener('securitypolicyviolation', (event) => {
  const what = event.blockedURI || event.sample
  window.noteViolation(`${event.effectiveDirective} refused ${what} ${event.sourceFile}:${event.lineNumber}`)
})
"""


def browser_is_missing() -> str:
    """Return why tests with a browser can't run here, or nothing."""
    return "" if CHROMIUM else "chromium is not installed: apt-get install chromium"


class Device:
    """One browser profile with one page, signed in at a daemon."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        """
        Open an empty page.

        Args:
            browser: Chromium.
            url: The daemon's, or where else it is reached.
            options: Playwright's for a context: ``color_scheme``, ``viewport`` and so on.
        """
        self.url = url
        self.context: BrowserContext = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, **options}
        )
        self.context.set_default_timeout(WAIT_MS)
        self.notes: list[str] = []
        self.context.expose_function("noteViolation", lambda text: self.notes.append(f"policy: {text}"))
        self.context.add_init_script(_LISTEN)
        self.page: Page = self.watched(self.context.new_page())

    def watched(self, page: Page) -> Page:
        """Note what a page does that it may not."""
        page.on("dialog", self._on_dialog)
        page.on("pageerror", lambda error: self.notes.append(f"error: {error}"))
        page.on("console", self._on_console)
        page.on("request", self._on_request)
        page.on("popup", lambda _: self.notes.append("popup"))
        return page

    def _on_dialog(self, dialog: Any) -> None:
        self.notes.append(f"dialog: {dialog.type} {dialog.message}")
        dialog.dismiss()

    def _on_console(self, message: Any) -> None:
        if message.type == "error" and not _EXPECTED.search(message.text):
            self.notes.append(f"console: {message.text}")

    def _on_request(self, request: Any) -> None:
        asked, own = urlsplit(request.url), urlsplit(self.url)
        if asked.scheme not in {"blob", "data"} and asked.netloc != own.netloc:
            self.notes.append(f"request: {request.url}")

    def sign_in(self, token: str = TOKEN, at: str = "") -> Device:
        """Open the link that the daemon prints; ``at`` is what to look at, ``/ID?panel=graph``."""
        self.page.goto(f"{self.url}/#token={quote(token, safe='')}")
        self.page.wait_for_url(lambda url: "token=" not in url)
        if at:
            self.go(at)
        return self

    def lose(self, cable: Cable) -> None:
        """Lose the network, once all that is shown is stored, the page itself too."""
        self.stands("In sync")
        self.page.evaluate("() => navigator.serviceWorker.ready.then(() => {})")
        cable.cut()
        self.stands("Offline")

    def go(self, at: str) -> None:
        """Look at something else."""
        self.page.goto(f"{self.url}/#{at}")

    @property
    def conversation(self) -> str:
        """The id of the conversation that is looked at."""
        return unquote(urlsplit(self.page.url).fragment.removeprefix("/").partition("?")[0])

    def button(self, name: str | re.Pattern[str], within: Locator | None = None) -> Locator:
        """Return a button by what it is called."""
        return (within or self.page).get_by_role("button", name=name, exact=isinstance(name, str))

    def begin(self) -> str:
        """Begin a conversation; returns its id."""
        before = self.page.url
        self.button("New conversation").first.click()
        self.page.wait_for_url(lambda url: url != before)
        return self.conversation

    @property
    def field(self) -> Locator:
        """Where messages are written."""
        return self.page.get_by_role("textbox", name="Message", exact=True)

    def say(self, text: str, *, ask: bool = True) -> None:
        """Write a message and send it, asking for an answer or not."""
        self.field.fill(text)
        self.field.press("Enter" if ask else "Control+Enter")
        expect(self.field).to_have_value("")

    @property
    def messages(self) -> Locator:
        """The messages that are in the page."""
        return self.page.get_by_role("article")

    @property
    def answers(self) -> Locator:
        """The answers among them."""
        return self.page.get_by_role("article", name=re.compile("^Answer from"))

    def shows(self, *texts: str) -> None:
        """Wait until the messages are these, in this order, and no others."""
        expect(self.messages.locator(".body")).to_have_text(list(texts))

    def stands(self, how: str) -> None:
        """Wait until the page says how it stands with the daemon: ``In sync``, ``Offline · 1 waiting``."""
        expect(self.page.get_by_role("button", name=f"Sync: {how}").first).to_be_visible()

    def choose(self, menu: str, item: str, within: Locator | None = None) -> None:
        """Choose from a menu."""
        self.button(menu, within).click()
        self.page.get_by_role("menuitem", name=item).click()

    def offline(self, *, cut: bool) -> None:
        """Cut it off from the network, or not any more."""
        self.context.set_offline(cut)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a claim about what was noted holds."""
        # The page is given its turn meanwhile: else no event would come.
        for _ in range(WAIT_MS // 20):
            if holds():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"not in time; noted: {self.notes}")

    def check(self) -> None:
        """Fail where the page did what it may not."""
        assert self.notes == []

    def close(self) -> None:
        """Forget all of it."""
        self.context.close()


Open = Callable[..., Device]
