"""
Who is let in, and asked again: rights hold for as long as they hold, not for as long as a socket lives.

Whenever the gate says that earlier answers may not hold any more, every member is looked up again;
who lost its rights leaves with a final code, who lost some goes on with less.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from syncd.auth import AccessDenied, Credentials, Gate, Grant, Right
from syncd.counters import Counters
from syncd.logs.events import event
from syncd.protocol import CloseCode
from syncd.rooms.member import Member

logger = logging.getLogger("syncd")

RENEW_S = 30.0
"""So long before its token ends a client that can is asked for a new one."""
SILENCE_S = 10.0
"""A gate that does not answer in so long has said no, for now."""


class Admissions:
    """Every member, and what it showed to be let in. Used from one event loop."""

    def __init__(self, gate: Gate, counters: Counters, wall_clock: Callable[[], float]) -> None:
        """
        Begin with nobody.

        Args:
            gate: Decides.
            counters: Where refusals are counted.
            wall_clock: Seconds since 1970, as tokens count them.
        """
        self.gate = gate
        self._counters = counters
        self._wall_clock = wall_clock
        self._members: dict[Member, Credentials] = {}
        self._asked: set[Member] = set()
        self._wake = anyio.Event()

    def __len__(self) -> int:
        return len(self._members)

    async def admit(self, credentials: Credentials, conversation: str) -> Grant:
        """
        Return what somebody may do in a conversation.

        Raises:
            AccessDenied: Not even read.
        """
        try:
            with anyio.fail_after(SILENCE_S):
                grant = await self.gate.admit(credentials, conversation)
        except TimeoutError:
            self._counters.denied += 1
            raise AccessDenied(
                "who you are can't be checked now: come back", CloseCode.TRY_AGAIN_LATER
            ) from None
        except AccessDenied:
            self._counters.denied += 1
            raise
        if not grant.may(Right.READ):
            self._counters.denied += 1
            raise AccessDenied("you may not read this conversation", CloseCode.FORBIDDEN)
        return grant

    def add(self, member: Member, credentials: Credentials) -> None:
        """Keep what a member showed."""
        self._members[member] = credentials
        self._asked.discard(member)

    def remove(self, member: Member) -> None:
        """Forget a member."""
        self._members.pop(member, None)
        self._asked.discard(member)

    def ask_again(self) -> None:
        """Have every member looked up again."""
        self._wake.set()

    async def run(self) -> None:
        """Look members up again whenever asked to, until cancelled."""
        stop = self.gate.watch(self.ask_again)
        try:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                for member, credentials in tuple(self._members.items()):
                    await self._look_up(member, credentials)
        finally:
            stop()

    async def _look_up(self, member: Member, credentials: Credentials) -> None:
        try:
            grant = await self.admit(credentials, member.room.id)
        except AccessDenied as denied:
            if denied.code != CloseCode.TRY_AGAIN_LATER:
                self._expel(member, denied)
            return
        if member in self._members and grant != member.grant:
            member.regrant(grant)

    def _expel(self, member: Member, denied: AccessDenied) -> None:
        extra = event(
            "access_ended",
            conversation=member.room.id,
            connection=member.socket.connection.id,
            sub=member.grant.subject,
            code=int(denied.code),
            reason=denied.reason,
        )
        logger.info("no longer let in", extra=extra)
        self.remove(member)
        member.expel(denied.code, denied.reason)

    def sweep(self) -> None:
        """Ask for new tokens where they end soon, and let nobody stay whose token ended."""
        now_s = self._wall_clock()
        for member in tuple(self._members):
            expires_s = member.grant.expires_s
            if expires_s is None or expires_s > now_s + RENEW_S:
                continue
            if expires_s <= now_s:
                self._expel(member, AccessDenied("the token has expired", CloseCode.UNAUTHORIZED))
            elif member not in self._asked:
                self._asked.add(member)
                member.ask_for_token()
