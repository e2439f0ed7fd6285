"""
The token that opens the daemon.

One is made on first start and kept beside the store, readable by its owner
alone. ``CONV_TOKEN`` stands above the file, for daemon and clients alike.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from syncd.auth.access import AccessDenied, Credentials, Grant, Right
from syncd.errors import StartError

VARIABLE = "CONV_TOKEN"
_OWNER = Grant("owner", frozenset(Right))


def token_file(store: Path) -> Path:
    """Return where the token of a store's daemon is kept."""
    return store.with_name(f"{store.name}.token")


def read_token(store: Path) -> str | None:
    """Return the token that clients on this machine use, if there is one."""
    given = os.environ.get(VARIABLE)
    if given:
        return given
    try:
        return token_file(store).read_text().strip() or None
    except OSError:
        return None


def load_token(store: Path) -> str:
    """
    Return the daemon's token, made on first use with mode 0600.

    Raises:
        StartError: Its file can't be read or written.
    """
    given = read_token(store)
    if given:
        return given
    made = secrets.token_urlsafe(24)
    file = token_file(store)
    try:
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{made}\n")
    except OSError as error:
        raise StartError(f"can't write the token to {file}: {error.strerror}") from error
    return made


def is_token(expected: str, given: str | None) -> bool:
    """Whether ``given`` is the token, in a time that does not tell how much of it is right."""
    return given is not None and hmac.compare_digest(expected.encode(), given.encode())


class TokenGate:
    """Lets in whoever has the daemon's token, to do everything."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        """Return all rights; see ``Gate``."""
        del conversation
        if not is_token(self._token, credentials.token):
            raise AccessDenied("a valid token is needed", 4401)
        return _OWNER

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call nothing: the token never changes while the daemon runs."""
        del callback
        return lambda: None
