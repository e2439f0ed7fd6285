"""
Presence: who is here, and what they show of themselves.

::

    payload = varUint(n) n*(varUint(client) varUint(clock) varString(JSON or "null"))

A state is taken if its clock is greater than the known one, or equal and the state
is null (the client is gone). What is not renewed for 30 s is dropped. States are
opaque here, and never stored. Times are arguments: nothing here has a clock.

Stock clients send on whatever they learn, about anybody. So a client belongs to the
connection whose word on it was news, and only those count against a connection. And
who has left is remembered as gone until 30 s after the last word: else a copy that
was still on its way would bring it back.

Who comes back after a break says its old clock, which others, who saw it leave, pass
over. Who connected after it had left can't have the old state from anybody here, so that
is the client itself: it is back, at a newer clock, which it takes over when it is told.
Anybody else who says an old clock is told that the client is gone; y-protocols answers
that with a newer one, if it was about itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from syncd.protocol.errors import MalformedFrame, RemoteProtocolError
from syncd.protocol.lib0 import Reader, encode_var_string, encode_var_uint

EXPIRES_S = 30.0
MAX_CLIENTS = 100
"""How many clients one connection may announce."""
MAX_STATE_LENGTH = 65536
"""How many characters of JSON one client may show."""
# A client that is told of a clock for itself goes on from there. One that somebody else
# drove to the end of varUint would next send what is no frame, and be closed for it.
MAX_CLOCK = 2**52

GONE = "null"


@dataclass(slots=True)
class _Presence:
    clock: int
    state: str
    seen_s: float
    origin: object
    gone_at: int = 0

    @property
    def is_gone(self) -> bool:
        return self.state == GONE


class AwarenessStates:
    """Everybody's presence in one room."""

    def __init__(self) -> None:
        self._known: dict[int, _Presence] = {}
        self._joined: dict[object, int] = {}
        self._joins = 0

    def __bool__(self) -> bool:
        return any(not presence.is_gone for presence in self._known.values())

    def join(self, origin: object) -> None:
        """Know a new connection, so that what it says of those who left before is its own word."""
        self._joins += 1
        self._joined[origin] = self._joins

    def apply(self, payload: bytes, now_s: float, origin: object) -> set[int]:
        """
        Take in what a connection says, all of it or nothing.

        Args:
            payload: The body of an awareness frame.
            now_s: Seconds on any clock that does not go back.
            origin: The connection.

        Returns:
            The clients to tell everybody of: whose presence was taken, and who is
            back but must hear first that it was gone.

        Raises:
            MalformedFrame: It is no awareness payload.
            RemoteProtocolError: It announces too many clients, or a state that is too long.
        """
        entries = decode_awareness(payload)
        taken: dict[int, _Presence] = {}
        for client, clock, state in entries:
            known = taken.get(client) or self._known.get(client)
            if _is_news(known, clock, state):
                taken[client] = _Presence(clock, _checked(state), now_s, origin, self._joins)
            elif known is not None and state != GONE and self._is_back(known, origin):
                taken[client] = _Presence(known.clock + 1, _checked(state), now_s, origin)
        if taken:
            self._check_room_for(taken, origin)
        back = {client for client, _, state in entries if state != GONE and self._has_left(client)}
        self._known.update(taken)
        return taken.keys() | back

    def encode(self, clients: Iterable[int] | None = None) -> bytes:
        """Encode those of some clients that are known, or everybody who is here."""
        if clients is None:
            clients = [client for client, known in self._known.items() if not known.is_gone]
        known = [(client, self._known[client]) for client in clients if client in self._known]
        return encode_awareness([(client, presence.clock, presence.state) for client, presence in known])

    def remove(self, origin: object) -> bytes | None:
        """Drop whom a connection announced; returns what to tell the others, if anything."""
        self._joined.pop(origin, None)
        leaving = {client: known for client, known in self._known.items() if known.origin is origin}
        for client, known in leaving.items():
            # Without the connection: what remembers the client must not keep it alive.
            clock = known.clock if known.is_gone else known.clock + 1
            at = known.gone_at if known.is_gone else self._joins
            self._known[client] = _Presence(clock, GONE, known.seen_s, None, at)
        return _farewell(leaving)

    def expire(self, now_s: float) -> bytes | None:
        """Drop who was not heard of for 30 s; returns what to tell the others, if anything."""
        silent = {c: known for c, known in self._known.items() if now_s - known.seen_s >= EXPIRES_S}
        for client in silent:
            del self._known[client]
        return _farewell(silent)

    def _is_back(self, known: _Presence, origin: object) -> bool:
        return known.is_gone and known.gone_at < self._joined.get(origin, 0) and known.clock < MAX_CLOCK

    def _has_left(self, client: int) -> bool:
        known = self._known.get(client)
        return known is not None and known.is_gone

    def _check_room_for(self, taken: Iterable[int], origin: object) -> None:
        announced = {client for client, known in self._known.items() if known.origin is origin}
        if len(announced.union(taken)) > MAX_CLIENTS:
            raise RemoteProtocolError(f"more than {MAX_CLIENTS} clients on one connection")


def encode_awareness(entries: Iterable[tuple[int, int, str]]) -> bytes:
    """Encode ``(client, clock, JSON)`` triples."""
    encoded = [
        encode_var_string(state, encode_var_uint(client) + encode_var_uint(clock))
        for client, clock, state in entries
    ]
    return b"".join((encode_var_uint(len(encoded)), *encoded))


def decode_awareness(payload: bytes) -> list[tuple[int, int, str]]:
    """
    Decode ``(client, clock, JSON)`` triples; what the JSON holds is not looked at.

    Raises:
        MalformedFrame: It is no awareness payload.
    """
    reader = Reader(payload)
    count = reader.read_var_uint()
    # Every entry has three bytes at least: a count can't make us allocate.
    if count > len(payload) // 3:
        raise MalformedFrame("an awareness payload is cut off")
    entries = [
        (reader.read_var_uint(), reader.read_var_uint(), reader.read_var_string()) for _ in range(count)
    ]
    if not reader.is_at_end:
        raise MalformedFrame("an awareness payload with trailing bytes")
    return entries


def _is_news(known: _Presence | None, clock: int, state: str) -> bool:
    if clock > MAX_CLOCK:
        return False
    if known is None:
        # The end of somebody we never heard of is no news, and not worth the memory.
        return state != GONE
    return clock > known.clock or (clock == known.clock and state == GONE != known.state)


def _checked(state: str) -> str:
    """Return a state that stock clients can read: they pass it to JSON.parse, and don't catch."""
    if len(state) > MAX_STATE_LENGTH:
        raise RemoteProtocolError(f"a state of more than {MAX_STATE_LENGTH} characters")
    try:
        return GONE if json.loads(state, parse_constant=_refuse_constant) is None else state
    except (ValueError, RecursionError):
        raise MalformedFrame("a state is no JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _farewell(clients: dict[int, _Presence]) -> bytes | None:
    told = [(client, known.clock + 1, GONE) for client, known in clients.items() if not known.is_gone]
    return encode_awareness(told) if told else None
