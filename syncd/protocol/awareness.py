"""
Presence: who is here, and what they show of themselves.

::

    payload = varUint(n) n*(varUint(client) varUint(clock) varString(JSON or "null"))

A state is taken if its clock is greater than the known one, or equal and the state
is null (the client is gone). What is not renewed for 30 s is dropped. States are
opaque here, and never stored. Times are arguments: nothing here has a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncd.protocol.errors import MalformedFrame
from syncd.protocol.lib0 import MAX_VAR_UINT, Reader, encode_var_string, encode_var_uint

EXPIRES_S = 30.0
MAX_CLIENTS = 100
"""How many clients one connection may announce."""

GONE = "null"


@dataclass(slots=True)
class _Presence:
    clock: int
    state: str
    seen_s: float
    origin: object


class AwarenessStates:
    """Everybody's presence in one room."""

    def __init__(self) -> None:
        self._known: dict[int, _Presence] = {}

    def __bool__(self) -> bool:
        return any(presence.state != GONE for presence in self._known.values())

    def apply(self, payload: bytes, now_s: float, origin: object) -> set[int]:
        """
        Take in what a connection says.

        Args:
            payload: The body of an awareness frame.
            now_s: Seconds on any clock that does not go back.
            origin: The connection.

        Returns:
            The clients whose presence was taken.

        Raises:
            MalformedFrame: It is no awareness payload, or announces too many clients.
        """
        entries = decode_awareness(payload)
        announced = {client for client, known in self._known.items() if known.origin is origin}
        if len(announced | {client for client, _, _ in entries}) > MAX_CLIENTS:
            raise MalformedFrame(f"more than {MAX_CLIENTS} clients on one connection")
        changed: set[int] = set()
        for client, clock, state in entries:
            known = self._known.get(client)
            if (
                known is None
                or clock > known.clock
                or (clock == known.clock and state == GONE != known.state)
            ):
                self._known[client] = _Presence(clock, state, now_s, origin)
                changed.add(client)
        return changed

    def encode(self, clients: Iterable[int] | None = None) -> bytes:
        """Encode some clients, or everybody who is here."""
        if clients is None:
            clients = [client for client, known in self._known.items() if known.state != GONE]
        known = [(client, self._known[client]) for client in clients]
        return encode_awareness([(client, presence.clock, presence.state) for client, presence in known])

    def remove(self, origin: object) -> bytes | None:
        """Drop whom a connection announced; returns what to tell the others, if anything."""
        return self._drop([client for client, known in self._known.items() if known.origin is origin])

    def expire(self, now_s: float) -> bytes | None:
        """Drop who was not heard of for 30 s; returns what to tell the others, if anything."""
        return self._drop(
            [client for client, known in self._known.items() if now_s - known.seen_s >= EXPIRES_S]
        )

    def _drop(self, clients: Iterable[int]) -> bytes | None:
        gone = [(client, self._known.pop(client)) for client in clients]
        # One clock later, as y-protocols does: the client's own next word counts again.
        told = [(c, min(p.clock + 1, MAX_VAR_UINT), GONE) for c, p in gone if p.state != GONE]
        return encode_awareness(told) if told else None


def encode_awareness(entries: Iterable[tuple[int, int, str]]) -> bytes:
    """Encode ``(client, clock, JSON)`` triples."""
    encoded = [
        encode_var_uint(c) + encode_var_uint(clock) + encode_var_string(state) for c, clock, state in entries
    ]
    return encode_var_uint(len(encoded)) + b"".join(encoded)


def decode_awareness(payload: bytes) -> list[tuple[int, int, str]]:
    """
    Decode ``(client, clock, JSON)`` triples.

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
