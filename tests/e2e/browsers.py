"""A real browser for the end-to-end tests: Debian's chromium, driven by playwright-core in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from tests.e2e.programs import NODE, end, node_is_missing, read_line

CHROMIUM = shutil.which("chromium")


def browser_is_missing() -> str:
    """Return why tests with a browser can't run here, or nothing."""
    if CHROMIUM is None:
        return "chromium is not installed: apt-get install chromium"
    if not (NODE / "node_modules" / "playwright-core").is_dir():
        return node_is_missing() or "the packages of tests/e2e/node are too old: npm ci"
    return node_is_missing()


class Browser:
    """Chromium, and a server of empty pages at ``url``, which is another origin than any daemon's."""

    def __init__(self) -> None:
        assert CHROMIUM is not None
        self._process = subprocess.Popen(
            ["node", str(NODE / "browser.mjs"), CHROMIUM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=NODE,
        )
        self.url = str(self._next(60)["url"])

    @property
    def port(self) -> int:
        """The port of its pages."""
        return int(self.url.rpartition(":")[2])

    def open(self, url: str, page: str = "page") -> Page:
        """Open a page with a client in it."""
        self.do("open", page, url=url)
        return Page(self, page)

    def rebind(self, url: str, page: str = "page") -> Page:
        """Open a page that comes from elsewhere, under a name that points to this machine from then on."""
        self.do("rebind", page, url=url)
        return Page(self, page)

    def do(self, command: str, page: str, **fields: object) -> Any:
        """Have the browser do something; returns what came of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, "page": page, **fields}).encode() + b"\n")
        self._process.stdin.flush()
        return self._next(40)["result"]

    def _next(self, timeout_s: float) -> Any:
        return json.loads(read_line(self._process, timeout_s))

    def close(self) -> None:
        """End it: its input ends, and it closes the browser."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            end(self._process)
        else:
            assert self._process.stdout is not None
            self._process.stdout.close()


class Page:
    """One page of a browser, with network and storage of its own."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser = browser
        self._name = name

    def call(self, call: str, *given: object) -> Any:
        """Call what ``page.mjs`` defines."""
        return self._browser.do("call", self._name, call=call, **{"with": given})

    def until(self, **has: object) -> Any:
        """Wait until the client's state has all of this; returns the state."""
        return self._browser.do("until", self._name, has=has)

    def offline(self, *, cut: bool) -> None:
        """Cut the page off from the network, or not any more."""
        self._browser.do("offline", self._name, **{"is": cut})
