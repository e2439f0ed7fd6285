"""The web client's files over HTTP: what they are, how long they are kept, and the fence around the page."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from crdt_conv import Store
from syncd.app import create_app
from syncd.auth import TokenGate
from syncd.hub import Hub

pytestmark = pytest.mark.anyio

HERE = "http://127.0.0.1/"
BELOW = "http://127.0.0.1/crdt/"
PAGE = '<!doctype html><script type="module" src="./assets/main-abc.js"></script>'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return the daemon's store."""
    with Store(tmp_path / "daemon.db") as opened:
        yield opened


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Return a folder of built files, beside which something lies that is nobody's business."""
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (dist / "index.html").write_text(PAGE)
    for name in ("main-abc.js", "main-abc.css", "font-abc.woff2", "picture-abc.svg"):
        (dist / "assets" / name).write_text(name)
    (dist / "manifest.webmanifest").write_text("{}")
    return dist


@asynccontextmanager
async def browsing(
    store: Store, web: Path | None, *, base: str = "http://127.0.0.1/"
) -> AsyncIterator[httpx.AsyncClient]:
    """Ask the application, mounted where ``base`` says, without a token."""
    app = create_app(Hub(store, TokenGate("let me in")), web=web)
    path = httpx.URL(base).path.rstrip("/")
    transport = httpx.ASGITransport(Starlette(routes=[Mount(path, app)]) if path else app)
    async with httpx.AsyncClient(transport=transport, base_url=base) as http:
        yield http


@pytest.mark.parametrize("base", [HERE, BELOW])
@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("", "text/html; charset=utf-8"),
        ("index.html", "text/html; charset=utf-8"),
        ("assets/main-abc.js", "text/javascript; charset=utf-8"),
        ("assets/main-abc.css", "text/css; charset=utf-8"),
        ("assets/font-abc.woff2", "font/woff2"),
        ("assets/picture-abc.svg", "image/svg+xml"),
        ("manifest.webmanifest", "application/manifest+json"),
    ],
)
async def test_files_are_what_they_are(store: Store, built: Path, base: str, path: str, media: str) -> None:
    """With their types and no token, at the root and below another application's path."""
    async with browsing(store, built, base=base) as http:
        got, head = await http.get(path), await http.head(path)
    assert (got.status_code, got.headers["content-type"]) == (200, media)
    assert got.content == (built / (path or "index.html")).read_bytes()
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == got.headers


async def test_a_mount_without_its_slash_leads_to_the_page(store: Store, built: Path) -> None:
    """The page's own addresses are relative, so they need it."""
    async with browsing(store, built, base=BELOW) as http:
        answer = await http.get("http://127.0.0.1/crdt", follow_redirects=True)
    assert (str(answer.url), answer.text) == (BELOW, PAGE)


async def test_what_is_named_by_its_content_is_kept_for_ever(store: Store, built: Path) -> None:
    """And the page itself is asked for each time."""
    async with browsing(store, built) as http:
        kept = {
            path: (await http.get(path)).headers["cache-control"] for path in ("/", "/assets/main-abc.js")
        }
    assert kept == {"/": "no-cache", "/assets/main-abc.js": "public, max-age=31536000, immutable"}


async def test_a_page_that_is_the_same_is_not_sent_again(store: Store, built: Path) -> None:
    """Whatever its date: a wheel gives the files of all versions one date, and pages have one size."""
    async with browsing(store, built) as http:
        first = await http.get("/")
        told = {"If-None-Match": first.headers["etag"], "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
        same = await http.get("/", headers=told)
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
        assert same.headers["content-security-policy"] == first.headers["content-security-policy"]
        assert "last-modified" not in first.headers
    before = (built / "index.html").stat()
    (built / "index.html").write_text(PAGE.replace("abc", "xyz"))
    os.utime(built / "index.html", ns=(before.st_atime_ns, before.st_mtime_ns))
    # A daemon of the next version.
    async with browsing(store, built) as http:
        other = await http.get("/", headers=told)
        assert (other.status_code, other.text) == (200, PAGE.replace("abc", "xyz"))


@pytest.mark.parametrize("path", ["/", "/assets/main-abc.js", "/manifest.webmanifest"])
async def test_the_fence_stands_around_every_file(store: Store, built: Path, path: str) -> None:
    """Nothing from elsewhere, nothing inline, in nobody's frame, and no address told to anybody."""
    async with browsing(store, built) as http:
        headers = (await http.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "font-src": "'self'",
        "manifest-src": "'self'",
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/none",
        "/assets",
        "/assets/",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "//etc/passwd",
        "/%00",
    ],
)
async def test_nothing_else_is_there(store: Store, built: Path, path: str) -> None:
    """No list of files, and nothing from beside the folder; said as every refusal is."""
    async with browsing(store, built) as http:
        answer = await http.get(httpx.URL("http://127.0.0.1").copy_with(raw_path=path.encode()))
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_files_are_only_read(store: Store, built: Path) -> None:
    """Nobody writes them."""
    async with browsing(store, built) as http:
        refused = await http.post("/", content=b"x")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_another_name_of_this_machine_gets_no_page(store: Store, built: Path) -> None:
    """DNS rebinding: a page under somebody else's name would have that one's storage."""
    async with browsing(store, built) as http:
        assert (await http.get("/", headers={"Host": "evil.example"})).status_code == 421


async def test_a_missing_build_says_how_to_make_it(store: Store, tmp_path: Path) -> None:
    """And once it is there, it is served."""
    async with browsing(store, tmp_path / "dist") as http:
        missing = await http.get("/")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "make web" in missing.text
        assert (await http.get("/assets/main-abc.js")).status_code == 404
        (tmp_path / "dist").mkdir()
        (tmp_path / "dist" / "index.html").write_text(PAGE)
        assert (await http.get("/")).text == PAGE


async def test_without_the_web_client_there_is_a_line_of_text(store: Store) -> None:
    """As before there was one."""
    async with browsing(store, None) as http:
        assert (await http.get("/")).text.startswith("crdt-conv: Yjs clients connect to /sync/")
        assert (await http.get("/assets/main-abc.js")).status_code == 404
