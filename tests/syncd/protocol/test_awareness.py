"""Presence, in virtual time."""

from __future__ import annotations

import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import AwarenessStates, MalformedFrame, RemoteProtocolError
from syncd.protocol.awareness import (
    EXPIRES_S,
    MAX_CLIENTS,
    MAX_CLOCK,
    MAX_STATE_LENGTH,
    decode_awareness,
    encode_awareness,
)

HERE, OTHER, GONE = '{"name":"ann"}', '{"name":"bob"}', "null"


def word(*entries: tuple[int, int, str]) -> bytes:
    """Return a payload of ``(client, clock, state)``."""
    return encode_awareness(entries)


def told(payload: bytes | None) -> list[tuple[int, int, str]]:
    """Return what a payload says."""
    return [] if payload is None else decode_awareness(payload)


def table(*entries: tuple[int, int, str]) -> AwarenessStates:
    """Return a table that has heard these, at second 0, from the connection ``a``."""
    states = AwarenessStates()
    states.apply(word(*entries), 0.0, "a")
    return states


def test_the_captured_payload() -> None:
    """Client 1, clock 0, an empty object, as a stock client sends it."""
    assert decode_awareness(bytes.fromhex("01 01 00 02 7b7d")) == [(1, 0, "{}")]
    assert word((1, 0, "{}")).hex() == "010100027b7d"
    assert word().hex() == "00"


# A known clock and state, what is said then, and whether it is taken.
RULES = [
    (5, HERE, 6, OTHER, True),
    (5, HERE, 5, OTHER, False),
    (5, HERE, 4, OTHER, False),
    (5, HERE, 6, GONE, True),
    (5, HERE, 5, GONE, True),
    (5, HERE, 4, GONE, False),
    (5, GONE, 5, GONE, False),
    (5, GONE, 6, HERE, True),
    (5, HERE, MAX_CLOCK, OTHER, True),
    (5, HERE, MAX_CLOCK + 1, OTHER, False),
]


@pytest.mark.parametrize(("known", "state", "clock", "said", "is_taken"), RULES)
def test_the_rule(known: int, state: str, clock: int, said: str, *, is_taken: bool) -> None:
    """Taken is a greater clock, or an equal one with the end."""
    states = table((7, 1, HERE), (7, known, state))
    assert states.apply(word((7, clock, said)), 1.0, "a") == ({7} if is_taken else set())
    assert told(states.encode([7])) == [(7, clock, said) if is_taken else (7, known, state)]


@pytest.mark.parametrize("clocks", [(5, 3), (3, 5)])
def test_a_client_twice_in_a_payload_is_taken_at_its_last_clock(clocks: tuple[int, int]) -> None:
    """In whichever order the two stand."""
    states = table(*((7, clock, HERE) for clock in clocks))
    assert told(states.encode()) == [(7, 5, HERE)]


def test_an_end_without_a_beginning_is_nothing() -> None:
    """Who was never here takes no memory and is told to nobody."""
    states = table()
    assert states.apply(word((7, 3, GONE)), 0.0, "a") == set()
    assert told(states.encode([7])) == []


def test_only_those_who_are_here_are_listed() -> None:
    """Who said goodbye is remembered, but not shown to who comes in."""
    states = table((7, 1, HERE), (8, 1, HERE))
    states.apply(word((7, 2, GONE)), 1.0, "a")
    assert told(states.encode()) == [(8, 1, HERE)]
    states.apply(word((8, 2, " null\n")), 1.0, "a")
    assert not states


def test_silence_of_30_seconds_is_the_end() -> None:
    """Not a moment sooner, and every renewal counts."""
    states = table((7, 1, HERE), (8, 1, HERE))
    states.apply(word((8, 2, HERE)), 15.0, "a")
    assert states.expire(EXPIRES_S - 0.001) is None
    assert told(states.expire(EXPIRES_S)) == [(7, 2, GONE)]
    assert told(states.expire(15.0 + EXPIRES_S)) == [(8, 3, GONE)]
    assert not states


def test_saying_the_same_again_does_not_renew() -> None:
    """Others send on what they know of a client that is long dead: that must not keep it here."""
    states = table((7, 1, HERE))
    states.apply(word((7, 1, HERE)), 20.0, "b")
    assert told(states.expire(EXPIRES_S)) == [(7, 2, GONE)]


def test_who_leaves_takes_its_own_clients_along() -> None:
    """Those that its connection announced, and no others; once."""
    states = table((7, 1, HERE), (8, 4, HERE))
    states.apply(word((9, 1, OTHER), (7, 1, HERE)), 0.0, "b")
    assert sorted(told(states.remove("a"))) == [(7, 2, GONE), (8, 5, GONE)]
    assert told(states.encode()) == [(9, 1, OTHER)]
    assert states.remove("a") is None
    assert states.remove("nobody") is None


def test_who_said_goodbye_is_not_told_of_twice() -> None:
    """The end of its connection adds nothing."""
    states = table((7, 1, HERE))
    states.apply(word((7, 2, GONE)), 0.0, "a")
    assert states.remove("a") is None
    assert states.expire(EXPIRES_S) is None


def test_a_late_copy_does_not_bring_back_who_has_left() -> None:
    """It was on its way from somebody else when the connection ended."""
    states = table((7, 1, HERE))
    states.remove("a")
    states.apply(word((7, 1, HERE)), 0.1, "b")
    assert not states
    assert states.remove("b") is None


def test_who_comes_back_hears_that_it_was_gone() -> None:
    """Its old clock says nothing to the others; a stock client answers this with a newer one."""
    states = table((7, 1, HERE))
    states.remove("a")
    assert told(states.encode(states.apply(word((7, 1, HERE)), 1.0, "again"))) == [(7, 2, GONE)]
    assert told(states.encode(states.apply(word((7, 3, HERE)), 1.1, "again"))) == [(7, 3, HERE)]
    assert told(states.remove("again")) == [(7, 4, GONE)]


def test_only_who_connects_behind_an_end_brings_back() -> None:
    """It is the client itself, and goes on one clock later; who was here may hold an old copy."""
    states = table((7, 1, HERE))
    states.join("was here")
    states.remove("a")
    states.join("again")
    assert told(states.encode(states.apply(word((7, 1, HERE)), 1.0, "was here"))) == [(7, 2, GONE)]
    assert told(states.encode(states.apply(word((7, 1, HERE)), 1.0, "again"))) == [(7, 3, HERE)]
    assert told(states.remove("again")) == [(7, 4, GONE)]


def test_who_has_left_is_forgotten_in_the_end() -> None:
    """Memory follows who is here."""
    states = table((7, 1, HERE))
    states.remove("a")
    assert states.expire(EXPIRES_S) is None
    assert told(states.encode([7])) == []


def test_who_has_left_does_not_keep_its_connection() -> None:
    """What is remembered is the client, not the socket it came by."""

    class Connection:
        pass

    states, connection = AwarenessStates(), Connection()
    states.apply(word((7, 1, HERE)), 0.0, connection)
    is_alive = weakref.ref(connection)
    states.remove(connection)
    del connection
    assert is_alive() is None


def test_a_client_moves_with_its_news() -> None:
    """A socket that lingers after its client has reconnected does not take it along."""
    states = table((7, 1, HERE))
    states.apply(word((7, 2, HERE)), 1.0, "new")
    assert states.remove("a") is None
    assert told(states.remove("new")) == [(7, 3, GONE)]


def test_clients_of_a_connection_are_counted() -> None:
    """The limit itself is allowed; one more is refused, and nothing of it is taken."""
    states = table(*((client, 1, HERE) for client in range(MAX_CLIENTS - 1)))
    with pytest.raises(RemoteProtocolError):
        states.apply(word((500, 1, HERE), (501, 1, HERE)), 0.0, "a")
    assert states.apply(word((500, 1, HERE)), 0.0, "a") == {500}
    with pytest.raises(RemoteProtocolError):
        states.apply(word((501, 1, HERE)), 0.0, "a")


def test_a_crowded_room_is_nobody_s_fault() -> None:
    """A stock client sends on everybody it learns of, and is not held to account for them."""
    states = AwarenessStates()
    for client in range(3 * MAX_CLIENTS):
        states.apply(word((client, 1, HERE)), 0.0, f"connection {client}")
    assert states.apply(states.encode(), 0.0, "newcomer") == set()


@pytest.mark.parametrize("state", ["", "{", "nul", "NaN", '{"a":Infinity}', "{} {}", "\ufeff{}", "[" * 60000])
def test_a_state_that_is_no_json_is_refused(state: str) -> None:
    """The others' JSON.parse would throw, in code that is not ours to mend; nothing of it is taken."""
    states = AwarenessStates()
    with pytest.raises(MalformedFrame):
        states.apply(word((1, 1, HERE), (7, 1, state)), 0.0, "a")
    assert not states


def test_the_length_of_a_state_is_bounded() -> None:
    """The limit itself is allowed."""
    longest = '"' + "x" * (MAX_STATE_LENGTH - 2) + '"'
    states = table((7, 1, longest))
    with pytest.raises(RemoteProtocolError):
        states.apply(word((7, 2, longest + " ")), 0.0, "a")
    assert told(states.encode()) == [(7, 1, longest)]


MALFORMED = [
    "",
    "01",
    "01 01 00",
    "01 01 00 03 7b7d",
    "02 01 00 02 7b7d",
    "01 01 00 02 7b7d 00",
    "ff ff 03 00",
]


@pytest.mark.parametrize("encoded", MALFORMED)
def test_a_payload_that_is_none_is_refused(encoded: str) -> None:
    """Cut off, going on, or counting what is not there."""
    with pytest.raises(MalformedFrame):
        AwarenessStates().apply(bytes.fromhex(encoded), 0.0, "a")


@given(st.binary(max_size=40))
def test_noise_is_refused_or_canonical(data: bytes) -> None:
    """Any bytes at all either are our encoding of a payload or are refused."""
    try:
        entries = decode_awareness(data)
    except MalformedFrame:
        return
    assert encode_awareness(entries) == data
