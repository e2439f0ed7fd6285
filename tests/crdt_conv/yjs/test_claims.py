"""Updates that claim to hold more than they can, and those that only look like it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.claims import check_claims
from crdt_conv.yjs.updates import check_update
from tests.crdt_conv import handmade as by_hand
from tests.replicas import copy_of, replica, texts

MANY = 230_000_000
BOMB = b"\x76" + by_hand.number(MANY)
"""A plain object of so many keys: room for them takes 260 MB."""
MISLEADING = "v——— v\U0001f600 tv— vöööö"
"""Its bytes look like great objects."""


def in_a_root(*contents: by_hand.Content) -> bytes:
    """Return an update with items in a root."""
    return by_hand.update(7, 0, [by_hand.item(content, "t") for content in contents])


WORDS = by_hand.words(MISLEADING)
HARMLESS = {
    "a string": (4, WORDS),
    "bytes": (3, WORDS),
    "an embedded value": (5, by_hand.words('"v———"')),
    "a format": (6, WORDS + by_hand.words('"v———"')),
    "a type": by_hand.type_of(by_hand.XML_ELEMENT, MISLEADING),
    "deleted content": (1, by_hand.number(3)),
    "a subdocument": (9, WORDS + by_hand.mapping(**{MISLEADING: by_hand.NULL})),
    "plain values": by_hand.values(
        by_hand.string(MISLEADING), by_hand.double(1.5), b"\x7d\x41", by_hand.nested(9), b"\x74" + WORDS
    ),
    "a plain object": by_hand.values(by_hand.mapping(**{MISLEADING: by_hand.mapping(a=b"\x78")})),
}
BOMBS = {
    "clients": by_hand.number(MANY),
    "an object": in_a_root(by_hand.values(BOMB)),
    "an object in a list": in_a_root(by_hand.values(by_hand.array(by_hand.NULL, BOMB))),
    "an object in an object": in_a_root(by_hand.values(b"\x76\x02" + by_hand.words("k") + BOMB)),
    "a subdocument's": in_a_root((9, by_hand.words("guid") + BOMB)),
    "behind all the rest": in_a_root(*HARMLESS.values(), by_hand.values(BOMB)),
    "behind a left neighbour": by_hand.update(7, 0, [b"\xc8" + b"\x01\x01" * 2 + by_hand.values(BOMB)[1]]),
    "behind a gap": by_hand.update(
        7, 0, [b"\x0a\x05", b"\0\x05", by_hand.item(by_hand.values(BOMB), "t", "k")]
    ),
}


@pytest.mark.parametrize("update", BOMBS.values(), ids=BOMBS.keys())
def test_a_great_claim_is_refused(update: bytes) -> None:
    """Wherever it stands, and before anybody makes room for it."""
    with pytest.raises(MalformedUpdate, match="claims to hold more"):
        check_claims(update)
    with pytest.raises(MalformedUpdate):
        check_update(update)


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_looks_like_a_claim_is_taken(content: by_hand.Content) -> None:
    """Each kind of content, with text whose bytes could be a great object, is what it is."""
    bait = (4, by_hand.words("v———"))
    check_update(in_a_root(content, bait))
    check_update(
        by_hand.update(2**31, 9, [by_hand.item(content, (7, 0), "v———")], by_hand.deletion(1, (0, 3)))
    )


@given(st.lists(st.text("v—😀\u07ff a", max_size=30), min_size=1, max_size=5))
def test_whatever_people_write_is_taken(written: list[str]) -> None:
    """A conversation of such texts reaches a replica."""
    conversation = replica()
    for text in written:
        conversation.append("user", text)
    assert texts(copy_of(conversation).log().messages) == written


@given(st.binary(max_size=60).map(lambda noise: b"\x01\x01\x07\0" + noise + b"v\x80\x80\x80"))
def test_noise_is_walked_through_or_refused(noise: bytes) -> None:
    """Nothing but MalformedUpdate is raised."""
    try:
        check_claims(noise)
    except MalformedUpdate:
        return


def test_what_can_t_be_walked_through_is_refused() -> None:
    """Content that a walk does not know is refused where bytes look like a great object, and only there."""
    for kind in (2, 11):
        with pytest.raises(MalformedUpdate, match="can't be checked"):
            check_claims(in_a_root((kind, WORDS)))
        check_claims(in_a_root((kind, by_hand.words("harmless"))))


def test_deep_nesting_is_refused() -> None:
    """Where a walk is needed, values that are nested too deep for it are."""
    with pytest.raises(MalformedUpdate, match="too deep"):
        check_claims(in_a_root((4, by_hand.words("v———")), by_hand.values(by_hand.nested(9999))))


PROBE = """
import resource, sys
from crdt_conv.errors import MalformedUpdate
from crdt_conv.yjs.updates import check_update
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    check_update(bytes.fromhex(sys.argv[1]))
except MalformedUpdate:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["clients", "an object"])
def test_a_refusal_costs_no_memory(name: str) -> None:
    """A few bytes make a process grow by less than a megabyte."""
    command = [sys.executable, "-c", PROBE, BOMBS[name].hex()]
    grown_kb = int(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert grown_kb < 1000
