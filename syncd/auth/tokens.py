"""
JSON Web Tokens: who somebody is, what they may do, and until when.

::

    {"sub": "ann", "exp": 1790000000, "iat": 1789990000, "jti": "...",
     "rights": {"*": ["read"], "trip-*": ["write"], "secret": []}}

``rights`` maps conversations to rights: the whole id, the beginning of ids with a ``*`` behind it, or
``*`` for all and for the server itself. The most exact entry counts, alone.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from syncd.auth.access import AccessDenied, Credentials, Grant, Right
from syncd.auth.keys import Key, read_keys
from syncd.auth.revocations import Revocations
from syncd.errors import StartError

logger = logging.getLogger("syncd")

MAX_TOKEN: Final = 8192
"""A longer token, in characters, is refused unread."""
LEEWAY_S: Final = 10.0
"""So far may the clocks of who makes tokens and of this machine differ."""
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403

# Times are checked below, by our own clock.
_OPTIONS: Any = {
    "require": ["sub", "exp"],
    "verify_aud": False,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}

Rights = Mapping[str, Sequence[str]]


def issue(key: Key, subject: str, rights: Rights, *, now_s: float, lifetime_s: float) -> str:
    """
    Make a token.

    Args:
        key: It signs.
        subject: Whose it is.
        rights: What they may do, by conversation.
        now_s: Seconds since 1970.
        lifetime_s: For how long it is good.
    """
    claims = {
        "sub": subject,
        "iat": int(now_s),
        "exp": int(now_s + lifetime_s),
        "jti": secrets.token_hex(8),
        "rights": {pattern: [Right(right) for right in given] for pattern, given in rights.items()},
    }
    import jwt  # noqa: PLC0415 - as in ``keys``

    return jwt.encode(claims, key.key, algorithm=key.algorithm, headers={"kid": key.kid})


def rights_for(rights: object, conversation: str | None) -> frozenset[Right]:
    """Return what a ``rights`` claim says of a conversation, or of the server; nothing where it is odd."""
    if not isinstance(rights, dict):
        return frozenset()
    matching = [pattern for pattern in rights if isinstance(pattern, str) and _matches(pattern, conversation)]
    if not matching:
        return frozenset()
    # The whole id first, then the longest beginning.
    best = max(matching, key=lambda pattern: (not pattern.endswith("*"), len(pattern)))
    given = rights[best]
    known = {right.value for right in Right}
    if not isinstance(given, list):
        return frozenset()
    return frozenset(Right(right) for right in given if isinstance(right, str) and right in known)


def _matches(pattern: str, conversation: str | None) -> bool:
    if pattern == "*":
        return True
    if conversation is None:
        return False
    return conversation.startswith(pattern[:-1]) if pattern.endswith("*") else conversation == pattern


class JwtGate:
    """Lets in whoever shows a token that one of our keys signed."""

    def __init__(self, keys: Path, revocations: Path, *, clock: Callable[[], float] = time.time) -> None:
        """
        Read keys and revocations.

        Args:
            keys: A JSON Web Key Set; see ``keys``.
            revocations: What is no good any more; see ``revocations``.
            clock: Seconds since 1970.

        Raises:
            StartError: One of the files can't be read.
        """
        self._file = keys
        self._clock = clock
        self._stamp: int | None = None
        self._keys: dict[str, Key] = {}
        self.revocations = Revocations(revocations)
        self._callbacks: list[Callable[[], None]] = []
        self._read()

    def _read(self) -> bool:
        stamp = self._file.stat().st_mtime_ns if self._file.exists() else None
        if stamp == self._stamp:
            return False
        self._keys = read_keys(self._file)
        self._stamp = stamp
        return True

    def poll(self) -> None:
        """
        Notice what other programs changed in the files; whoever runs the gate calls this each second or so.

        Raises:
            StartError: A file can't be read; what was known goes on to count.
        """
        has_changed = self._read()
        if self.revocations.poll() or has_changed:
            self.changed()

    def changed(self) -> None:
        """Have everybody asked again."""
        for callback in tuple(self._callbacks):
            callback()

    def revoke(self, *, subject: str | None = None, token_id: str | None = None) -> None:
        """Make a token, or everything that somebody was given until now, no good at once."""
        if token_id is not None:
            self.revocations.revoke_token(token_id, self._clock())
        if subject is not None:
            self.revocations.revoke_subject(subject, self._clock())
        self.changed()

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when keys or revocations change; see ``Gate``."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        """Return what a token says; see ``Gate``."""
        claims = self._claims(credentials.token)
        subject, expires_s = str(claims["sub"]), float(claims["exp"])
        jti, issued_s = claims.get("jti"), claims.get("iat")
        if self.revocations.is_revoked(
            subject, jti if isinstance(jti, str) else None, float(issued_s) if issued_s is not None else None
        ):
            raise AccessDenied("the token was revoked: ask for a new one", UNAUTHORIZED)
        rights = rights_for(claims.get("rights"), conversation)
        if not rights:
            raise AccessDenied("the token gives no right to this", FORBIDDEN)
        return Grant(subject, rights, expires_s)

    def _claims(self, token: str | None) -> Mapping[str, Any]:
        if not token:
            raise AccessDenied("a token is needed", UNAUTHORIZED)
        if len(token) > MAX_TOKEN:
            raise AccessDenied("the token is too long", UNAUTHORIZED)
        if not self._keys:
            # It need not be read, nor what reads it be here.
            raise AccessDenied("the token is signed with no key of this server", UNAUTHORIZED)
        import jwt  # noqa: PLC0415 - as in ``keys``

        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise AccessDenied("the token is signed with no key of this server", UNAUTHORIZED)
            claims = jwt.decode(token, key.key, algorithms=[key.algorithm], options=_OPTIONS)
            self._check_times(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise AccessDenied(f"the token is no good ({type(error).__name__})", UNAUTHORIZED) from None
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now_s = self._clock()
        if now_s - LEEWAY_S >= float(claims["exp"]):
            raise AccessDenied("the token has expired", UNAUTHORIZED)
        if "nbf" in claims and now_s + LEEWAY_S < float(claims["nbf"]):
            raise AccessDenied("the token is not good yet", UNAUTHORIZED)
        if "iat" in claims and now_s + LEEWAY_S < float(claims["iat"]):
            raise AccessDenied("the token is from the future: are the clocks right?", UNAUTHORIZED)


@asynccontextmanager
async def polled(gate: JwtGate, every_s: float = 1.0) -> AsyncIterator[None]:
    """Have a gate notice what other programs change in its files, while the block runs."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_poll, gate, every_s)
        yield
        tasks.cancel_scope.cancel()


async def _poll(gate: JwtGate, every_s: float) -> None:
    told = ""
    while True:
        await anyio.sleep(every_s)
        wrong = ""
        try:
            gate.poll()
        except StartError as error:
            wrong = str(error)
        if wrong and wrong != told:
            logger.error("what was known of tokens goes on to count: %s", wrong)
        told = wrong
