"""
What is written down of one connection: that it came and went, and what was not as it should be.

An update that is taken is counted here, and nothing more. What a client can repeat as fast as it sends is
written a few times a minute: the next line says how many were left out, and the last one how many there were.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable

from crdt_conv import StoreError
from syncd.auth import AccessDenied
from syncd.logs.events import event
from syncd.logs.quotas import Quota, Quotas
from syncd.protocol.refusals import Refusal, Status

logger = logging.getLogger("syncd")

Clock = Callable[[], float]


class Connection:
    """One WebSocket, as the log knows it. Used from one event loop."""

    __slots__ = (
        "_began_s",
        "_clock",
        "_documents",
        "_merged",
        "_quotas",
        "_shared",
        "_times",
        "bytes",
        "client",
        "dialect",
        "id",
        "updates",
    )

    def __init__(
        self,
        dialect: str = "",
        client: str = "",
        clock: Clock = time.monotonic,
        shared: Quotas | None = None,
    ) -> None:
        """
        Know a new connection.

        Args:
            dialect: ``sync`` or ``collab``.
            client: The other end's address.
            clock: Seconds that never go back.
            shared: How many lines are written of whoever is not let in, and comes again on another socket.
        """
        # Drawn, not counted: lines from before a restart are of other connections.
        self.id = secrets.token_hex(4)
        self.dialect = dialect
        self.client = client
        self.updates = 0
        self.bytes = 0
        self._clock = clock
        self._began_s = clock()
        self._documents = 0
        self._merged = 0
        self._times = dict.fromkeys(("denied", "refused", "throttled"), 0)
        self._quotas: dict[str, Quota] = {}
        self._shared = shared

    def opened(self, conversation: str | None = None, sub: str = "") -> None:
        """It is there: in the dialect of one document with its client let in already."""
        self._documents += conversation is not None
        extra = self._event("connection_opened", conversation=conversation, sub=sub, client=self.client)
        logger.info("a connection opened", extra=extra)

    def entered(self, conversation: str, sub: str) -> None:
        """Its client was let into a conversation."""
        self._documents += 1
        extra = self._event("conversation_opened", conversation=conversation, sub=sub)
        logger.info("a conversation was opened", extra=extra)

    def denied(self, conversation: str | None, denied: AccessDenied) -> None:
        """Its client was not let in."""
        self._times["denied"] += 1
        fields = {"conversation": conversation, "code": int(denied.code), "reason": denied.reason}
        self._say(logging.WARNING, "not let in", "access_denied", client=self.client, **fields)

    def turned_away(self, conversation: str, code: int, error: Exception) -> None:
        """The conversation that its client asked for can't be opened."""
        is_ours = isinstance(error, StoreError) and code == 1013
        level, kind = (logging.ERROR, "store_failed") if is_ours else (logging.INFO, "turned_away")
        fields = {"conversation": conversation, "code": int(code), "reason": str(error)}
        self._say(level, "a conversation can't be opened", kind, **fields)

    def refused(self, conversation: str, sub: str, refusal: Refusal, updates: int = 1) -> None:
        """Updates, or other frames, were refused."""
        self._times["refused"] += updates
        if refusal.status is Status.TRY_AGAIN:
            # The store's failure is written down where it happened, once for all whom it concerns.
            return
        fields = {"status": str(refusal.status), "reason": refusal.reason, "updates": updates}
        self._say(logging.WARNING, "refused", "update_refused", conversation=conversation, sub=sub, **fields)

    def caught_up(self, merged: int, seconds: float) -> None:
        """It read too slowly for a while, and updates were merged for it."""
        self._merged += merged
        self._say(logging.INFO, "updates were merged", "slow_merged", merged=merged, seconds=seconds)

    def let_go(self, merged: int, size: int, seconds: float) -> None:
        """It reads too slowly, and is closed."""
        self._merged += merged
        self._say(
            logging.WARNING, "too slow: let go", "slow_let_go", merged=merged, bytes=size, seconds=seconds
        )

    def throttled(self) -> None:
        """It sends more than it may, and is read more slowly."""
        self._times["throttled"] += 1
        if self._times["throttled"] == 1:
            # Once: whoever is over the bound stays there for long.
            logger.warning("sends too much: read more slowly", extra=self._event("throttled"))

    def failed(self, error: Exception) -> None:
        """Something went wrong with it that nobody foresaw, and it is closed."""
        # The kind alone: a text may hold what nobody is to read here.
        extra = self._event("connection_failed", reason=type(error).__name__)
        logger.error("a connection failed", extra=extra)

    def closed(self, code: int, reason: str) -> None:
        """It is gone."""
        extra = self._event(
            "connection_closed",
            code=int(code),
            reason=reason,
            updates=self.updates,
            bytes=self.bytes,
            documents=self._documents,
            merged=self._merged or None,
            seconds=self._clock() - self._began_s,
            **{name: times or None for name, times in self._times.items()},
        )
        logger.info("a connection closed", extra=extra)

    def _say(self, level: int, message: str, kind: str, **fields: object) -> None:
        if self._shared is not None and kind in {"access_denied", "turned_away"}:
            omitted = self._shared.take(kind, self.client, self._clock())
        else:
            omitted = self._quotas.setdefault(kind, Quota()).take(self._clock())
        if omitted is not None:
            logger.log(level, message, extra=self._event(kind, **fields, omitted=omitted or None))

    def _event(self, name: str, **fields: object) -> dict[str, object]:
        return event(name, connection=self.id, dialect=self.dialect, **fields)
