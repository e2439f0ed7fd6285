"""
Keeps secrets out of text that is written down.

Known by their form: ``token=`` in a URL, ``Authorization`` and ``Cookie`` headers however they are printed,
whatever stands behind ``Bearer``, JSON Web Tokens, passwords in URLs. Known by heart: the daemon's own
token, wherever it stands. Too much is hidden rather than too little: nobody needs such a word in a log.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "[redacted]"
MIN_SECRET: Final = 6
"""A shorter secret is known by its form alone: by heart it would be found in words that are none."""

# No prefix such as [\w-]* in front: it would try every place of a long word, and again from the next.
_KEY = r"(?:token|api[_-]?key|secret|password)"
_RULES: Final = (
    # Anywhere, even cut off: the head of a JWT is always {"...
    (re.compile(r"eyJ[\w-]{4,}(?:(?:\.|%2E)[\w-]*)*", re.IGNORECASE), HIDDEN),
    (re.compile(rf"({_KEY}(?:=|%3D))[^\s&\"'<>,;#)\]}}]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(rf"({_KEY}\\?[\"']\s?[:,]\s?b?\\?[\"'])[^\"'\\]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(Bearer|Basic)(\s|%20|\+)+[^\s\"',;)\]}]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # Atomic: what stands in front of the value, once found, is not tried shorter to make it match after all.
    (
        re.compile(
            r"((?>(?:authorization|cookie)\\?[\"']?\s?[:=,]\s?(?:b?\\?[\"'])?))(?!(?:Bearer|Basic)\s)[^\"'\\\r\n]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(//)[^/\s:@]*:[^/\s@]+@"), rf"\1{HIDDEN}@"),
)

_MARKS: Final = (
    "token",
    "eyj",
    "//",
    "bearer",
    "basic",
    "authorization",
    "cookie",
    "secret",
    "password",
    "key",
)
"""One of these, in small letters, stands in whatever a rule finds."""


class Redactor:
    """Hides secrets."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def hide(self, secret: str) -> None:
        """Hide a secret from now on, by heart, as it is and as it stands in a URL."""
        if len(secret) >= MIN_SECRET:
            forms = {*self._secrets, secret, quote(secret, safe="")}
            # The longest first: one may be the beginning of another.
            self._secrets = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return a text without its secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return text

    def may_change(self, text: str) -> bool:
        """Whether a text may hold a secret: that most hold none is cheaper to see than to look for it."""
        lowered = text.lower()
        return any(mark in lowered for mark in _MARKS) or any(secret in text for secret in self._secrets)
