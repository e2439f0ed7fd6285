"""Where another daemon is, and with which token."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from syncd.errors import StartError

SCHEMES = ("http", "https", "ws", "wss")


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """``url`` names the other daemon wherever that is written down; it never holds the token."""

    url: str
    token: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, token: str = "") -> PeerAddress:
        """
        Read a URL as the other daemon prints it.

        Args:
            text: ``http://host:port``, perhaps with ``#token=`` or ``?token=``.
            token: The token where none stands in it.

        Raises:
            StartError: It is no such URL.
        """
        try:
            parts = urlsplit(text.strip())
            is_url = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_url = False
        if not is_url or parts.username is not None:
            # Without the text: it may hold a token.
            raise StartError("no URL of a daemon: http://host:port, with #token= or --peer-token")
        shown = {**parse_qs(parts.fragment), **parse_qs(parts.query)}
        given = shown.get("token", [""])[0]
        return cls(f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"), given or token)
