"""Gates for who embeds the daemon, and several gates as one."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

from syncd.auth.access import AccessDenied, Credentials, Gate, Grant, Right

logger = logging.getLogger("syncd")

Answer: TypeAlias = Grant | Collection[Right] | None
Decide: TypeAlias = Callable[[Credentials, str | None], Answer | Awaitable[Answer]]

UNAUTHORIZED = 4401
FORBIDDEN = 4403


class CallableGate:
    """
    Asks a function of the embedding application.

    Example:
        >>> def decide(credentials, conversation):
        ...     return {Right.READ, Right.WRITE} if credentials.token == "ann" else None
        >>> gate = CallableGate(decide)
    """

    def __init__(self, decide: Decide) -> None:
        """
        Make a gate.

        Args:
            decide: Takes what was shown and the conversation (``None``: the whole server); returns a
                grant, or rights: none of them for somebody who is known and has none here, ``None`` for
                who is not known. May be ``async``. What it raises is written to the log, and nobody gets in.
        """
        self._decide = decide
        self._callbacks: list[Callable[[], None]] = []

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        """Return what the function says; see ``Gate``."""
        try:
            answer = self._decide(credentials, conversation)
            if inspect.isawaitable(answer):
                answer = await answer
        except AccessDenied:
            raise
        except Exception as error:
            logger.exception("the function that decides who gets in failed")
            raise AccessDenied("who you are can't be checked now", FORBIDDEN) from error
        if isinstance(answer, Grant):
            return answer
        if not answer:
            is_known = answer is not None or credentials.token
            raise AccessDenied("you may not do this", FORBIDDEN if is_known else UNAUTHORIZED)
        return Grant("", frozenset(Right(right) for right in answer))

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after ``changed``; see ``Gate``."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def changed(self) -> None:
        """Have everybody who is in asked again: some rights are not what they were."""
        for callback in tuple(self._callbacks):
            callback()


class AnyOf:
    """Lets in whoever one of several gates lets in."""

    def __init__(self, *gates: Gate) -> None:
        self._gates = gates

    async def admit(self, credentials: Credentials, conversation: str | None) -> Grant:
        """Return the first grant; else the refusal that says most."""
        refusals: list[AccessDenied] = []
        for gate in self._gates:
            try:
                return await gate.admit(credentials, conversation)
            except AccessDenied as denied:
                refusals.append(denied)
        # A missing right says more than a token that is no good, and of two gates the later one knows more of
        # the token: it ended, or was revoked.
        raise max(reversed(refusals), key=lambda denied: denied.code)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when one of them would; see ``Gate``."""
        stops = [gate.watch(callback) for gate in self._gates]

        def stop() -> None:
            for each in stops:
                each()

        return stop
