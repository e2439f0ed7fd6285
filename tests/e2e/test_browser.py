"""A real browser against the real daemon: pages that may connect do, and nobody else's page gets anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.browsers import Browser, Page, browser_is_missing
from tests.e2e.programs import TOKEN, Daemon, conv, conv_json, daemon

pytestmark = pytest.mark.skipif(bool(browser_is_missing()), reason=browser_is_missing())

ROOM = "trip"
SECRET = "nobody else reads this"
KEY = {"Authorization": f"Bearer {TOKEN}"}
DIALECTS = ("y-websocket", "hocuspocus")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all."""
    started = Browser()
    yield started
    started.close()


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon with a conversation, and one origin besides its own that may connect."""
    db = tmp_path_factory.mktemp("browser") / "chats.db"
    conv(db, "new", "--title", SECRET)
    origin = f"http://friend.example:{browser.port}"
    with daemon(db, "--no-executor", "--allow-origin", origin) as running:
        yield running


def friend(browser: Browser, name: str = "friend") -> Page:
    """Open a page of the origin that was allowed."""
    return browser.open(f"http://friend.example:{browser.port}/", name)


def doors(server: Daemon, host: str = "127.0.0.1") -> list[str]:
    """Return the daemon's sockets, with its token where it goes into the URL."""
    return [f"ws://{host}:{server.port}{path}?token={TOKEN}" for path in (f"/sync/{ROOM}", "/collab")]


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:{pages}", "http://localhost:{daemon}", "http://evil.example:{pages}"]
)
def test_a_page_of_another_origin_gets_nothing(browser: Browser, server: Daemon, where: str) -> None:
    """Another port, another name of this machine, another site: with the token, too, it reads no answer."""
    page = browser.open(where.format(pages=browser.port, daemon=server.port))
    for url in doors(server):
        assert page.call("knock", url) == {"code": 4403}
    api = f"{server.url}/api/conversations"
    for options in ({}, {"headers": KEY}, {"method": "POST", "body": "{}"}):
        assert page.call("fetch", api, options) == {"failed": "TypeError"}
    hidden = page.call("fetch", api, {"mode": "no-cors"})
    assert (hidden["type"], hidden["body"]) == ("opaque", "")
    assert len(conv_json(server.db, "ls")) == 1


def test_a_name_that_points_here_gets_nothing(browser: Browser, server: Daemon) -> None:
    """DNS rebinding: to the browser the page is of the daemon's own origin; its name is not one of ours."""
    evil = f"evil.example:{server.port}"
    page = browser.rebind(f"http://{evil}/")
    for url in doors(server, "evil.example"):
        assert page.call("knock", url) == {"code": 4403}
    for path in ("/", "/healthz", "/api/conversations", "/metrics"):
        answer = page.call("fetch", f"http://{evil}{path}", {"headers": KEY})
        assert (answer["status"], SECRET in answer["body"]) == (421, False)


def test_a_page_of_the_daemon_itself_connects(browser: Browser, server: Daemon) -> None:
    """Same origin: no header of ours stands in the way, and the API answers."""
    page = browser.open(server.url)
    page.call("open", "hocuspocus", server.ws, "own", TOKEN)
    page.until(synced=True)
    answer = page.call("fetch", f"{server.url}/api/conversations", {"headers": KEY})
    assert (answer["status"], SECRET in answer["body"]) == (200, True)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pages_of_an_allowed_origin_work_together(browser: Browser, server: Daemon, dialect: str) -> None:
    """Each sees what the other types and who is here; cut off, both write on, and then have all of it."""
    pages = [friend(browser, name) for name in ("ann", "bob")]
    for name, page in zip(("ann", "bob"), pages, strict=True):
        page.call("open", dialect, server.ws, dialect, TOKEN)
        page.until(synced=True)
        page.call("present", name)
    pages[0].call("type", "together")
    for page in pages:
        page.until(text="together", here=["ann", "bob"])
    pages[1].offline(cut=True)
    pages[1].until(synced=False)
    for letter, page in zip("ab", pages, strict=True):
        page.call("type", letter)
    pages[0].until(text="atogether")
    pages[1].offline(cut=False)
    for page in pages:
        page.until(synced=True, length=len("ab together") - 1)
    pages[0].until(here=["ann", "bob"])
    assert pages[0].call("state")["text"] == pages[1].call("state")["text"]
    if dialect == "hocuspocus":
        pages[1].until(saved=True)


def test_a_page_of_an_allowed_origin_reads_what_it_needs_of_an_answer(
    browser: Browser, server: Daemon
) -> None:
    """The headers of a range of a blob, where a run is, and why a token is no good."""
    data = b"0123456789"
    blob = f"{server.url}/api/blobs/{hashlib.sha256(data).hexdigest()}"
    httpx.put(blob, content=data, headers=KEY).raise_for_status()
    page = friend(browser)
    part = page.call("fetch", blob, {"headers": {**KEY, "Range": "bytes=2-4"}})
    assert (part["status"], part["body"], part["headers"]["content-range"]) == (206, "234", "bytes 2-4/10")
    assert part["headers"]["etag"]
    denied = page.call("fetch", blob, {"headers": {"Authorization": "Bearer wrong"}})
    assert (denied["status"], denied["headers"]["www-authenticate"]) == (401, "Bearer")
    posted = {"method": "POST", "headers": {**KEY, "Content-Type": "application/json"}}
    made = page.call(
        "fetch", f"{server.url}/api/conversations", {**posted, "body": json.dumps({"id": "made"})}
    )
    assert made["status"] == 201
    message = {"role": "user", "text": "Where?"}
    page.call(
        "fetch", f"{server.url}/api/conversations/made/messages", {**posted, "body": json.dumps(message)}
    )
    asked = json.dumps({"target": {"adapter": "llamacpp", "model": "any"}})
    run: Any = page.call("fetch", f"{server.url}/api/conversations/made/runs", {**posted, "body": asked})
    assert (run["status"], "/runs/" in run["headers"]["location"]) == (202, True)


def test_a_page_is_told_that_its_token_is_no_good(browser: Browser, server: Daemon) -> None:
    """By a close code that a browser can see, and by the dialect's own word."""
    page = friend(browser)
    assert page.call("knock", f"{server.ws}/sync/{ROOM}?token=wrong") == {"code": 4401}
    page.call("open", "hocuspocus", server.ws, ROOM, "wrong")
    [reason] = page.until(synced=False, denied=["the token is signed with no key of this server"])["denied"]
    assert "wrong" not in reason


def test_a_page_lives_through_a_restart_of_the_daemon(browser: Browser, tmp_path: Path) -> None:
    """What it types while the daemon is gone is there afterwards, and said to be saved."""
    origin = ("--no-executor", "--allow-origin", f"http://friend.example:{browser.port}")
    page = friend(browser)
    with daemon(tmp_path / "chats.db", *origin) as first:
        page.call("open", "hocuspocus", first.ws, ROOM, TOKEN)
        page.until(synced=True)
        first.process.kill()
        first.process.wait()
        page.call("type", "meanwhile")
        page.until(synced=False)
    with daemon(tmp_path / "chats.db", *origin, port=first.port):
        page.until(synced=True, saved=True, text="meanwhile")
