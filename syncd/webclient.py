"""
The web client: files built from ``syncd/web``, served as they are, and the headers that fence the page in.

The files hold nothing that is secret, so no token is needed for them; the page asks for one, or finds it in
the fragment of its address, which browsers never send. Whatever hostile text gets past the page's own
sanitizer still runs no script, loads nothing from elsewhere and sends nothing there: ``HEADERS`` say so.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

BUILT: Final = Path(__file__).parent / "web" / "dist"
"""Where the built files are: in a checkout, and in the wheel."""

POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    # blob: attachments are fetched with the token; data: small pictures of the style sheet.
    "img-src": "'self' blob: data:",
    # Sockets of this host too: 'self' covers ws: and wss:.
    "connect-src": "'self'",
    "font-src": "'self'",
    "manifest-src": "'self'",
    "worker-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""The Content-Security-Policy, by directive."""

HEADERS: Final = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in ("camera", "display-capture", "geolocation", "microphone", "payment", "serial", "usb")
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer has, whatever it is."""

ALWAYS_ASK: Final = "no-cache"
"""Kept by a browser, and asked about each time."""
FOR_EVER: Final = "public, max-age=31536000, immutable"
"""For files whose names change with their content: Vite puts a digest into those below ``assets/``."""

MEDIA: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""By ending: what a machine's own table says differs, and ``nosniff`` holds a browser to it."""

MISSING: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>The web client is not built</title>
<h1>The web client is not built</h1>
<p>The daemon runs, but the files of its page are missing: <code>syncd/web/dist</code>.
In a checkout, with Node 20 or newer:</p>
<pre>make web</pre>
<p>Then load this page again. A wheel has the files in it.</p>
</html>
"""


class WebClient(StaticFiles):
    """Serves the built files below where it is mounted, ``index.html`` at its root."""

    def __init__(self, directory: Path = BUILT) -> None:
        """
        Make the application.

        Args:
            directory: The built files. They may be missing, and may come later.
        """
        super().__init__(directory=directory, html=True, check_dir=False)
        # As StaticFiles has paths: without links.
        self._root = directory.resolve()
        self._tags: dict[tuple[Path, int, int], str] = {}

    async def check_config(self) -> None:
        """Check nothing: a page says what is missing."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer one request."""
        if path in {".", "index.html"} and not self._is_built():
            return HTMLResponse(MISSING, 404, {**HEADERS, "Cache-Control": "no-store"})
        return await super().get_response(path, scope)

    def _is_built(self) -> bool:
        return (self._root / "index.html").is_file()

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Answer with a file, or that it is still the one the browser has."""
        path = Path(full_path)
        is_named_by_content = self._root / "assets" in path.parents
        headers = {
            **HEADERS,
            "Cache-Control": FOR_EVER if is_named_by_content else ALWAYS_ASK,
            "ETag": self._tag(path, stat_result),
        }
        media = MEDIA.get(path.suffix)
        response = FileResponse(path, status_code, headers, media, stat_result=stat_result)
        # The digest counts: a wheel gives all files one date, so an older version's would look current.
        del response.headers["last-modified"]
        if not self.is_not_modified(response.headers, Headers(scope=scope)):
            return response
        same = NotModifiedResponse(response.headers)
        same.headers.update(HEADERS)
        return same

    def _tag(self, path: Path, found: os.stat_result) -> str:
        key = (path, found.st_mtime_ns, found.st_size)
        if key not in self._tags:
            self._tags[key] = f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'
        return self._tags[key]
